package android.media

import stubs.Device

class AudioAttributes {
    class Builder {
        fun setUsage(usage: Int): Builder = apply { check(usage == USAGE_VOICE_COMMUNICATION) }

        fun build() = AudioAttributes()
    }

    companion object {
        const val USAGE_VOICE_COMMUNICATION: Int = 2
    }
}

class AudioFocusRequest {
    class Builder(@Suppress("UNUSED_PARAMETER") gain: Int) {
        fun setAudioAttributes(@Suppress("UNUSED_PARAMETER") attributes: AudioAttributes): Builder = this

        fun build() = AudioFocusRequest()
    }
}

class AudioManager {
    var mode: Int
        get() = Device.audioMode
        set(value) {
            Device.audioMode = value
        }

    fun requestAudioFocus(@Suppress("UNUSED_PARAMETER") request: AudioFocusRequest): Int = 1.also { Device.focused = true }

    fun abandonAudioFocusRequest(@Suppress("UNUSED_PARAMETER") request: AudioFocusRequest): Int = 1.also { Device.focused = false }

    companion object {
        const val AUDIOFOCUS_GAIN_TRANSIENT: Int = 2
        const val MODE_NORMAL: Int = 0
        const val MODE_IN_COMMUNICATION: Int = 3
    }
}
