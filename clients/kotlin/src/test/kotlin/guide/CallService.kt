// CallService.kt
package guide

import android.app.Service
import android.content.Context
import android.content.Intent
import android.content.pm.ServiceInfo
import android.media.AudioAttributes
import android.media.AudioFocusRequest
import android.media.AudioManager
import android.os.IBinder
import androidx.core.app.NotificationCompat
import androidx.core.app.ServiceCompat
import androidx.core.content.ContextCompat
import app.onlycare.signaling.Call
import app.onlycare.signaling.Phase
import io.agora.rtc2.ChannelMediaOptions
import io.agora.rtc2.Constants
import io.agora.rtc2.IRtcEngineEventHandler
import io.agora.rtc2.RtcEngine
import io.agora.rtc2.RtcEngineConfig
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch

/** The other one of [callId] is in its channel, as [uid]: for the screen, which shows him. */
class Talk(val callId: String, val engine: RtcEngine, val uid: Int)

class CallService : Service() {
    private val audio by lazy { getSystemService(AudioManager::class.java) }
    private val focus = AudioFocusRequest.Builder(AudioManager.AUDIOFOCUS_GAIN_TRANSIENT)
        .setAudioAttributes(AudioAttributes.Builder().setUsage(AudioAttributes.USAGE_VOICE_COMMUNICATION).build())
        .build()
    private var engine: RtcEngine? = null

    override fun onBind(intent: Intent): IBinder? = null

    override fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int {
        val notification = NotificationCompat.Builder(this, "rings").setSmallIcon(android.R.drawable.sym_action_call).setOngoing(true).build()
        ServiceCompat.startForeground(this, 1, notification, ServiceInfo.FOREGROUND_SERVICE_TYPE_MICROPHONE)
        val app = application as CallApp
        val call = app.call(intent?.getStringExtra("call").orEmpty())
        if (call == null) stopSelf() else app.scope.launch { talk(call, app.media.of(call.id)) }
        return START_NOT_STICKY
    }

    private suspend fun talk(call: Call, media: Media?) {
        if (media == null) {
            // Nobody would hear him.
            call.hangUp()
            return stopSelf()
        }
        audio.requestAudioFocus(focus)
        audio.mode = AudioManager.MODE_IN_COMMUNICATION
        join(call, media)
        call.state.first { it.phase == Phase.ENDED }
        leave()
        stopSelf()
    }

    private fun join(call: Call, media: Media) {
        val config = RtcEngineConfig()
        config.mContext = applicationContext
        config.mAppId = media.appId
        config.mEventHandler = object : IRtcEngineEventHandler() {
            override fun onUserJoined(uid: Int, elapsed: Int) {
                if (call.callType == "VIDEO") talk.value = engine?.let { Talk(call.id, it, uid) }
            }
        }
        val options = ChannelMediaOptions()
        options.channelProfile = Constants.CHANNEL_PROFILE_COMMUNICATION
        options.clientRoleType = Constants.CLIENT_ROLE_BROADCASTER
        options.publishMicrophoneTrack = true
        options.publishCameraTrack = call.callType == "VIDEO"
        val engine = RtcEngine.create(config)
        this.engine = engine
        if (call.callType == "VIDEO") engine.enableVideo()
        engine.joinChannel(media.token, media.channel, 0, options)
    }

    private fun leave() {
        talk.value = null
        engine?.leaveChannel()
        RtcEngine.destroy()
        audio.mode = AudioManager.MODE_NORMAL
        audio.abandonAudioFocusRequest(focus)
    }

    companion object {
        val talk = MutableStateFlow<Talk?>(null)

        fun start(context: Context, call: Call) =
            ContextCompat.startForegroundService(context, Intent(context, CallService::class.java).putExtra("call", call.id))
    }
}
