package io.agora.rtc2

import android.content.Context
import io.agora.rtc2.video.VideoCanvas
import stubs.Device

object Constants {
    const val CHANNEL_PROFILE_COMMUNICATION: Int = 0
    const val CLIENT_ROLE_BROADCASTER: Int = 1
}

abstract class IRtcEngineEventHandler {
    open fun onUserJoined(uid: Int, elapsed: Int): Unit = Unit
}

class RtcEngineConfig {
    lateinit var mContext: Context
    lateinit var mAppId: String
    lateinit var mEventHandler: IRtcEngineEventHandler
}

class ChannelMediaOptions {
    var channelProfile: Int? = null
    var clientRoleType: Int? = null
    var publishMicrophoneTrack: Boolean? = null
    var publishCameraTrack: Boolean? = null
}

class RtcEngine private constructor(private val config: RtcEngineConfig) {
    private var video = false

    fun enableVideo(): Int = 0.also { video = true }

    fun setupRemoteVideo(remote: VideoCanvas): Int {
        check(video) { "enableVideo comes first" }
        Device.pictures += remote.uid
        return 0
    }

    fun joinChannel(token: String?, channelId: String, uid: Int, options: ChannelMediaOptions): Int {
        check(config.mAppId != "" && channelId != "") { "the app id or the channel is empty" }
        check(uid == 0 && options.publishMicrophoneTrack == true)
        Device.joined += "${config.mAppId} $channelId $token"
        // Whom it finds there.
        config.mEventHandler.onUserJoined(7, 0)
        return 0
    }

    fun leaveChannel(): Int = 0

    companion object {
        fun create(config: RtcEngineConfig) = RtcEngine(config)

        fun destroy() = Device.joined.clear()
    }
}
