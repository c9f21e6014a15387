// CallActivity.kt
package guide

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import app.onlycare.signaling.Call
import app.onlycare.signaling.CallState
import app.onlycare.signaling.Phase
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
        showing = CoroutineScope(Dispatchers.Default).launch { call.state.collect { show(call, it) } }
        when (intent.getStringExtra("word")) {
            "answer" -> app.scope.launch { call.answer() }
            "decline" -> app.scope.launch { call.decline() }
        }
    }

    private fun show(call: Call, state: CallState) = runOnUiThread {
        when (state.phase) {
            Phase.CALLING, Phase.ANSWERING -> title = "…"
            Phase.RINGING -> title = if (state.alerting) "It rings" else if (state.byPush) "Waking the other phone" else call.peer
            Phase.ACTIVE -> title = "In a call with ${call.peer}"
            Phase.ENDED -> finish()
        }
    }

    /** The red button, at any time. */
    fun hangUp(call: Call) = app.scope.launch { call.hangUp() }

    override fun onDestroy() {
        showing?.cancel()
        super.onDestroy()
    }
}
