package androidx.core.content

import android.content.Context
import android.content.Intent
import stubs.Device

object ContextCompat {
    fun startForegroundService(@Suppress("UNUSED_PARAMETER") context: Context, intent: Intent) = Device.serve(intent)
}
