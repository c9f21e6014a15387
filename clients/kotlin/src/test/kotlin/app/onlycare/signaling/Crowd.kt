package app.onlycare.signaling

import io.socket.client.IO
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import okhttp3.Dispatcher
import okhttp3.OkHttpClient

/** Many phones in one process, for tests/node/stranded.mjs: `Crowd <url> <count>` prints `ready <n>` and `lost <n>`. */
internal object Crowd {
    @JvmStatic
    fun main(arguments: Array<String>): Unit = runBlocking {
        val (url, count) = arguments
        // OkHttp lets five requests to one host go on at a time: meant for one phone in a process.
        val dispatcher = Dispatcher().apply {
            maxRequests = 10_000
            maxRequestsPerHost = 10_000
        }
        val client = OkHttpClient.Builder().dispatcher(dispatcher).build()
        IO.setDefaultOkHttpCallFactory(client)
        IO.setDefaultOkHttpWebSocketFactory(client)
        repeat(count.toInt()) { n ->
            val userId = "USR_crowd$n"
            val phone = Phone(PhoneOptions(url, userId, "phone", { "token-of-$userId" }))
            launch {
                phone.link.map { it.status == LinkStatus.READY }.distinctUntilChanged().collect { ready ->
                    println("${if (ready) "ready" else "lost"} $n")
                }
            }
            phone.connect()
        }
    }
}
