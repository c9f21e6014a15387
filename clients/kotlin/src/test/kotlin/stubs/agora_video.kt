package io.agora.rtc2.video

import android.view.View

class VideoCanvas(@Suppress("UNUSED_PARAMETER") view: View, @Suppress("UNUSED_PARAMETER") renderMode: Int, val uid: Int) {
    companion object {
        const val RENDER_MODE_HIDDEN: Int = 1
    }
}
