// Media.kt
package guide

import android.content.Context
import app.onlycare.signaling.Call

/** Where the media of a call is. */
class Media(val appId: String, val channel: String, val token: String)

/** Of the call that this device is in, so that it outlives the process. */
class KeptMedia(context: Context) {
    private val stored = context.getSharedPreferences("media", Context.MODE_PRIVATE)

    fun of(callId: String): Media? =
        stored.getString(callId, null)?.split("\n")?.let { (appId, channel, token) -> Media(appId, channel, token) }

    fun keep(callId: String, media: Media) =
        stored.edit().clear().putString(callId, listOf(media.appId, media.channel, media.token).joinToString("\n")).apply()

    /** What came with the ring. */
    fun keepOf(call: Call) {
        fun text(field: String) = call.fields[field] as? String ?: ""
        if (text("channelName") != "") keep(call.id, Media(text("agoraAppId"), text("channelName"), text("agoraToken")))
    }

    fun forget(callId: String) = stored.edit().remove(callId).apply()
}
