// CallActivity.kt
package guide

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.SurfaceView
import android.widget.Button
import android.widget.LinearLayout
import app.onlycare.signaling.Call
import app.onlycare.signaling.CallState
import app.onlycare.signaling.Phase
import app.onlycare.signaling.Role
import io.agora.rtc2.video.VideoCanvas
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.launch

class CallActivity : Activity() {
    private var showing: Job? = null
    private val app get() = application as CallApp

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        take(intent)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        take(intent)
    }

    private fun take(intent: Intent) {
        // A call that is over by now needs no screen.
        val call = app.call(intent.getStringExtra("call").orEmpty()) ?: return finish()
        showing?.cancel()
        val picture = lay(call)
        showing = CoroutineScope(Dispatchers.Default).launch {
            launch { call.state.collect { show(call, it) } }
            CallService.talk.collect { talk -> if (talk != null && talk.callId == call.id) show(talk, picture) }
        }
        when (intent.getStringExtra("word")) {
            "answer" -> app.scope.launch { call.answer() }
            "decline" -> app.scope.launch { call.decline() }
        }
    }

    /** Gives where the other one is seen. */
    private fun lay(call: Call): SurfaceView {
        val picture = SurfaceView(this)
        val column = LinearLayout(this)
        column.orientation = LinearLayout.VERTICAL
        if (call.role == Role.CALLEE) column.addView(button("Answer") { call.answer() })
        // At any time: it cancels, declines or hangs up.
        column.addView(button("Hang up") { call.hangUp() })
        column.addView(picture)
        setContentView(column)
        return picture
    }

    private fun button(text: String, word: suspend () -> Unit): Button {
        val button = Button(this)
        button.text = text
        button.setOnClickListener { app.scope.launch { word() } }
        return button
    }

    private fun show(talk: Talk, picture: SurfaceView) = runOnUiThread {
        talk.engine.setupRemoteVideo(VideoCanvas(picture, VideoCanvas.RENDER_MODE_HIDDEN, talk.uid))
    }

    private fun show(call: Call, state: CallState) = runOnUiThread {
        when (state.phase) {
            Phase.CALLING, Phase.ANSWERING -> title = "…"
            Phase.RINGING -> title = if (state.alerting) "It rings" else if (state.byPush) "Waking the other phone" else call.peer
            Phase.ACTIVE -> title = "In a call with ${call.peer}"
            Phase.ENDED -> finish()
        }
    }

    override fun onDestroy() {
        showing?.cancel()
        super.onDestroy()
    }
}
