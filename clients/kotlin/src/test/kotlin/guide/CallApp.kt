// CallApp.kt
package guide

import android.app.Application
import android.net.ConnectivityManager
import android.net.Network
import androidx.lifecycle.DefaultLifecycleObserver
import androidx.lifecycle.LifecycleOwner
import androidx.lifecycle.ProcessLifecycleOwner
import app.onlycare.signaling.Call
import app.onlycare.signaling.Phase
import app.onlycare.signaling.Phone
import app.onlycare.signaling.PhoneOptions
import java.util.UUID
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch

class CallApp : Application(), DefaultLifecycleObserver {
    lateinit var phone: Phone
        private set
    val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val rings by lazy { RingNotification(this) }

    override fun onCreate() {
        super.onCreate()
        phone = Phone(PhoneOptions(Backend.signalingUrl, Backend.userId, installation(), { Backend.freshToken() }))
        scope.launch { phone.incoming.collect { call -> launch { ring(call) } } }
        ProcessLifecycleOwner.get().lifecycle.addObserver(this)
        getSystemService(ConnectivityManager::class.java).registerDefaultNetworkCallback(
            object : ConnectivityManager.NetworkCallback() {
                override fun onAvailable(network: Network) = phone.resume()
            },
        )
        phone.connect()
    }

    override fun onStart(owner: LifecycleOwner) = phone.resume()

    fun call(id: String): Call? = phone.calls.value.find { it.id == id }

    /** From the ring to its end, whatever screens do meanwhile. */
    private suspend fun ring(call: Call) {
        rings.show(call)
        val over = call.state.first { it.phase != Phase.RINGING }
        rings.hide(call)
        if (over.phase == Phase.ENDED) return
        talkOf(call)
    }

    /** The media runs in a service, so that it outlives the screen. */
    suspend fun talkOf(call: Call) {
        val state = call.state.first { it.phase == Phase.ACTIVE || it.phase == Phase.ENDED }
        if (state.phase == Phase.ACTIVE) CallService.start(this, call)
    }

    /** Made once for the installation: "answered elsewhere" is told by it. */
    private fun installation(): String {
        val stored = getSharedPreferences("signaling", MODE_PRIVATE)
        stored.getString("installation", null)?.let { return it }
        return UUID.randomUUID().toString().also { stored.edit().putString("installation", it).apply() }
    }
}
