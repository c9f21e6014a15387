// CallApp.kt
package guide

import android.app.Application
import android.content.Intent
import android.net.ConnectivityManager
import android.net.Network
import androidx.lifecycle.DefaultLifecycleObserver
import androidx.lifecycle.LifecycleOwner
import androidx.lifecycle.ProcessLifecycleOwner
import app.onlycare.signaling.Call
import app.onlycare.signaling.Link
import app.onlycare.signaling.LinkStatus
import app.onlycare.signaling.Phase
import app.onlycare.signaling.Phone
import app.onlycare.signaling.PhoneOptions
import app.onlycare.signaling.Role
import java.util.UUID
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch

class CallApp : Application(), DefaultLifecycleObserver {
    lateinit var phone: Phone
        private set
    val link = MutableStateFlow(Link(LinkStatus.IDLE))
    val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    val media by lazy { KeptMedia(this) }
    private val rings by lazy { RingNotification(this) }
    private val inFront = MutableStateFlow(false)

    override fun onCreate() {
        super.onCreate()
        begin()
        ProcessLifecycleOwner.get().lifecycle.addObserver(this)
        getSystemService(ConnectivityManager::class.java).registerDefaultNetworkCallback(
            object : ConnectivityManager.NetworkCallback() {
                override fun onAvailable(network: Network) = phone.resume()
            },
        )
        phone.connect()
    }

    /** Before a login it has no token: [link] is refused, and [MainActivity] asks for one. */
    private fun begin() {
        val mine = Phone(PhoneOptions(Backend.signalingUrl, Backend.userId, installation(), { Backend.freshToken() }))
        phone = mine
        scope.launch { mine.incoming.collect { call -> launch { ring(call) } } }
        scope.launch { mine.restored.collect { call -> launch { goOn(call) } } }
        scope.launch { mine.link.collect { if (mine === phone) link.value = it } }
    }

    /** Another user has another phone. */
    fun logIn(userId: String) {
        phone.close()
        Backend.logIn(userId)
        begin()
        phone.connect()
    }

    override fun onStart(owner: LifecycleOwner) {
        inFront.value = true
        phone.resume()
    }

    override fun onStop(owner: LifecycleOwner) {
        inFront.value = false
    }

    fun call(id: String): Call? = phone.calls.value.find { it.id == id }

    /** From the ring to its end, whatever screens do meanwhile. */
    private suspend fun ring(call: Call) {
        rings.show(call)
        val over = call.state.first { it.phase != Phase.RINGING }
        rings.hide(call)
        if (over.phase == Phase.ENDED) return
        talkOf(call)
    }

    /** A call of before this process. If nothing of its media was kept, another device is in it. */
    private suspend fun goOn(call: Call) {
        if (media.of(call.id) == null) return
        // No service that starts in the background is given the microphone.
        inFront.first { it }
        // The server knows whether this device is the one; if not, the call ends here.
        if (call.role == Role.CALLEE && !call.answer().isOk) return
        startActivity(Intent(this, CallActivity::class.java).putExtra("call", call.id).addFlags(Intent.FLAG_ACTIVITY_NEW_TASK))
        talkOf(call)
    }

    /** The media runs in a service, so that it outlives the screen. */
    suspend fun talkOf(call: Call) {
        val state = call.state.first { it.phase == Phase.ACTIVE || it.phase == Phase.ENDED }
        if (state.phase == Phase.ACTIVE) {
            if (call.role == Role.CALLEE) media.keepOf(call)
            CallService.start(this, call)
            call.state.first { it.phase == Phase.ENDED }
        }
        media.forget(call.id)
    }

    /** Made once for the installation: "answered elsewhere" is told by it. */
    private fun installation(): String {
        val stored = getSharedPreferences("signaling", MODE_PRIVATE)
        stored.getString("installation", null)?.let { return it }
        return UUID.randomUUID().toString().also { stored.edit().putString("installation", it).apply() }
    }
}
