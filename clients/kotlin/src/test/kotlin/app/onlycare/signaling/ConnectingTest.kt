package app.onlycare.signaling

import com.sun.net.httpserver.HttpServer
import java.io.IOException
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.ServerSocket
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** What a phone says of a server that it can't reach: without a node. */
class ConnectingTest {
    private fun phone(url: String, token: TokenProvider = TokenProvider { "token" }) =
        Phone(PhoneOptions(url, "USR_1", "device", token))

    /** The log, once it says why the phone waits. */
    private fun logOf(phone: Phone, cause: String): String = runBlocking {
        phone.connect()
        eventually("the log has: $cause", { phone.log.joinToString("\n") }) { phone.log.any { cause in it.text } }
        phone.close()
        phone.log.joinToString("\n") { it.text }
    }

    @Test
    fun `the log says that nobody listens at the address`() {
        val log = logOf(phone("http://127.0.0.1:1"), "could not connect: ")
        assertTrue("ConnectException" in log && "127.0.0.1:1" in log, log)
        assertTrue("EIO=" !in log, log)
    }

    @Test
    fun `the log says the status that a balancer answers`() {
        val balancer = HttpServer.create(InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0)
        balancer.createContext("/") { exchange ->
            exchange.sendResponseHeaders(503, -1)
            exchange.close()
        }
        balancer.start()
        try {
            val url = "http://127.0.0.1:${balancer.address.port}"
            val polling = logOf(phone(url), "could not connect: ")
            assertTrue("IOException 503" in polling, polling)
            val websocket = Phone(PhoneOptions(url, "USR_1", "device", { "token" }, listOf("websocket")))
            assertTrue("503" in logOf(websocket, "could not connect: "))
        } finally {
            balancer.stop(0)
        }
    }

    @Test
    fun `the log names what the token provider threw, and not its words`() {
        val log = logOf(phone("http://127.0.0.1:1", { error("of secret-token") }), "the token provider failed: ")
        assertTrue("the token provider failed: java.lang.IllegalStateException" in log.lines(), log)
        assertTrue("secret-token" !in log, log)
    }

    /** Within 15 s of the last fault all is to be as the server has it: an attempt that hung must leave time for another. */
    @Test
    fun `an attempt that hangs before the transport is open is given up soon, and the next has twice the time`() {
        // The system accepts, and nobody reads.
        ServerSocket(0, 50, InetAddress.getByName("127.0.0.1")).use { deaf ->
            val phone = phone("http://127.0.0.1:${deaf.localPort}")
            phone.connect()
            until("the attempt is given up") { phone.log.any { "could not connect: SocketIOException timeout" in it.text } }
            until("the next has twice the time") { phone.onWorker { phone.socket?.io()?.timeout() } == 2 * Constants.OPEN_MS }
            phone.close()
            val begun = phone.log.first { "CONNECTING" in it.text }.at
            val over = phone.log.first { "could not connect" in it.text }.at
            assertTrue(over - begun in Constants.OPEN_MS - 100 until Constants.CONNECT_MS / 2, "it took ${over - begun} ms")
        }
    }

    @Test
    fun `a cause is told without the query of an address`() {
        val failure = IOException("unexpected end of http://host/socket.io/?EIO=4&sid=secret again", IOException("closed"))
        assertEquals("IOException unexpected end of http://host/socket.io/ again: IOException closed", causeOf(failure))
        assertEquals("Server full", causeOf(mapOf("message" to "Server full")))
    }
}
