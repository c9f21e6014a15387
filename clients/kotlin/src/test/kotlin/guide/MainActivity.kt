// MainActivity.kt
package guide

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import app.onlycare.signaling.CallType
import app.onlycare.signaling.Link
import app.onlycare.signaling.LinkStatus
import app.onlycare.signaling.Refusal
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.launch

class MainActivity : Activity() {
    private var showing: Job? = null
    private val app get() = application as CallApp

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        val user = EditText(this)
        user.hint = "USR_1001"
        val column = LinearLayout(this)
        column.orientation = LinearLayout.VERTICAL
        column.addView(user)
        column.addView(button("Log in") { app.logIn(user.text.toString()) })
        column.addView(button("Call") { dial(user.text.toString()) })
        setContentView(column)
        showing = CoroutineScope(Dispatchers.Default).launch { app.link.collect(::show) }
    }

    private fun show(link: Link) = says(
        when {
            link.status == LinkStatus.READY -> Backend.userId
            link.status != LinkStatus.REFUSED -> "Connecting"
            link.reason == Refusal.LOGIN -> "Log in"
            else -> "Logged in elsewhere, or blocked"
        },
    )

    private suspend fun dial(callee: String) {
        val call = try {
            Dialling.dial(app, callee, CallType.VIDEO)
        } catch (failure: Exception) {
            return says("No call: ${failure.message}")
        }
        startActivity(Intent(this, CallActivity::class.java).putExtra("call", call.id))
    }

    private fun says(text: String) = runOnUiThread { title = text }

    private fun button(text: String, word: suspend () -> Unit): Button {
        val button = Button(this)
        button.text = text
        button.setOnClickListener { app.scope.launch { word() } }
        return button
    }

    override fun onDestroy() {
        showing?.cancel()
        super.onDestroy()
    }
}
