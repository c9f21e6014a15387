package app.onlycare.signaling

import com.sun.net.httpserver.HttpServer
import java.io.File
import java.net.HttpURLConnection
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.ServerSocket
import java.net.Socket
import java.net.URI
import java.nio.file.Files
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Assumptions.assumeTrue

private const val PATIENCE_MS = 40_000L

/** Nodes of the binary on one redis-server, each behind a proxy of ours that can cut. Ended by their ids. */
internal class Stage : AutoCloseable {
    private val folder = Files.createTempDirectory("signaling-kotlin").toFile()
    private val processes = CopyOnWriteArrayList<Process>()
    private val phones = CopyOnWriteArrayList<Phone>()
    private val binary = System.getenv("SIGNALING_BIN").orEmpty()
    private val redis = freePort()
    private val prefix = "kotlin-${System.nanoTime()}"
    private var store: Process

    init {
        assumeTrue(File(binary).canExecute(), "SIGNALING_BIN names no binary")
        store = startRedis()
    }

    private fun startRedis(): Process {
        val quiet = listOf("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder.path)
        val started = start(ProcessBuilder(listOf("redis-server", "--port", "$redis") + quiet), "redis")
        until("redis answers") { runCatching { Socket("127.0.0.1", redis).close() }.isSuccess }
        return started
    }

    /** Ends Redis and starts it again after a while, without its data. */
    suspend fun restartRedis(awayMs: Long) {
        store.destroyForcibly().waitFor()
        delay(awayMs)
        store = startRedis()
    }

    fun node(name: String, more: Map<String, String> = emptyMap()): Node {
        val builder = ProcessBuilder(binary)
        builder.environment() += mapOf(
            "PORT" to "0", "ADMIN_PORT" to "0", "HOST" to "127.0.0.1", "AUTH" to "insecure", "LOG_FORMAT" to "json",
            "LARAVEL_API_SECRET" to "secret-of-the-kotlin-tests", "REDIS_URL" to "redis://127.0.0.1:$redis",
            "REDIS_PREFIX" to prefix, "CALLER_GRACE_SECS" to "20", "HANDSHAKES_PER_SECOND" to "0",
            "HANDSHAKES_PER_ADDRESS_PER_SECOND" to "0", "EVENTS_PER_MINUTE" to "0",
        ) + more
        val process = start(builder, name)
        val listening = Regex(""""(public|admin)":"([^"]+)"""")
        fun addresses() = File(folder, name).readLines().filter { "\"listening\"" in it }
            .flatMap { listening.findAll(it).map { found -> found.groupValues[1] to found.groupValues[2] } }.toMap()
        until("$name listens") { "admin" in addresses() }
        val admin = addresses().getValue("admin")
        until("$name is ready") { status("http://$admin/ready") == 200 }
        return Node(process, addresses().getValue("public"))
    }

    fun phone(url: String, userId: String = "USR_K${users.incrementAndGet()}"): Phone =
        Phone(PhoneOptions(url, userId, "device-of-$userId", { "token-of-$userId" })).also { phones += it }

    private fun start(builder: ProcessBuilder, name: String): Process {
        val process = builder.directory(folder).redirectErrorStream(true).redirectOutput(File(folder, name)).start()
        processes += process
        return process
    }

    /** What Laravel does, at any node: the status of the answer. */
    fun post(node: Node, path: String, body: String): Int {
        val connection = URI("${node.url}$path").toURL().openConnection() as HttpURLConnection
        connection.setRequestProperty("X-Internal-Secret", "secret-of-the-kotlin-tests")
        connection.setRequestProperty("Content-Type", "application/json")
        connection.doOutput = true
        connection.outputStream.use { it.write(body.toByteArray()) }
        return connection.responseCode
    }

    private fun status(url: String): Int = runCatching {
        (URI(url).toURL().openConnection() as HttpURLConnection).responseCode
    }.getOrDefault(0)

    override fun close() {
        phones.forEach(Phone::close)
        processes.forEach { it.destroyForcibly().waitFor(5, TimeUnit.SECONDS) }
        folder.deleteRecursively()
    }

    private companion object {
        val users = AtomicInteger((System.nanoTime() % 1_000_000).toInt())
    }
}

internal class Node(private val process: Process, val address: String) {
    val url = "http://$address"

    val isAlive: Boolean get() = process.isAlive

    fun kill() {
        process.destroyForcibly().waitFor()
    }

    /** Lets it go as an operator does; [ended] waits for it. */
    fun drain() = process.destroy()

    fun ended() {
        check(process.waitFor(PATIENCE_MS, TimeUnit.MILLISECONDS)) { "a node that was told to stop runs on" }
    }
}

/** Laravel, as far as a node asks it who somebody is: `token-of-<user>` is valid, and no other token. */
internal class Laravel : AutoCloseable {
    private val server = HttpServer.create(InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0)
    val url = "http://127.0.0.1:${server.address.port}"

    init {
        server.createContext("/") { exchange ->
            val bearer = exchange.requestHeaders.getFirst("Authorization").orEmpty()
            val user = Regex("Bearer token-of-(\\S+)").matchEntire(bearer)?.groupValues?.get(1)
            val body = if (user == null) """{"success":false,"error":{"code":"UNAUTHENTICATED"}}""" else
                """{"success":true,"data":{"id":"$user","name":"$user"}}"""
            exchange.responseHeaders.set("Content-Type", "application/json")
            exchange.sendResponseHeaders(if (user == null) 401 else 200, body.length.toLong())
            exchange.responseBody.use { it.write(body.toByteArray()) }
        }
        server.start()
    }

    override fun close() = server.stop(0)
}

/** Passes bytes on to [target], which may change, and can break every connection. */
internal class Proxy(@Volatile var target: String) : AutoCloseable {
    private val server = ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"))
    private val pipes = ConcurrentHashMap.newKeySet<Pipe>()

    @Volatile
    var open = true
    val url = "http://127.0.0.1:${server.localPort}"

    init {
        thread(isDaemon = true) {
            while (!server.isClosed) runCatching { server.accept() }.onSuccess(::connect)
        }
    }

    private fun connect(near: Socket) {
        val (host, port) = target.split(":")
        val far = if (open) runCatching { Socket(host, port.toInt()) }.getOrNull() else null
        if (far == null) return near.close()
        for (pipe in listOf(Pipe(near, far), Pipe(far, near))) {
            pipes += pipe
            thread(isDaemon = true) {
                pipe.run()
                pipes -= pipe
            }
        }
    }

    fun cut() = pipes.forEach { it.from.close() }

    /** Nothing passes on the connections of now until what this gives is called; new ones are not concerned. */
    fun hold(): () -> Unit {
        val held = pipes.filter { it.flows }.onEach { it.flows = false }
        return { for (pipe in held) pipe.flows = true }
    }

    override fun close() {
        open = false
        server.close()
        cut()
    }
}

private class Pipe(val from: Socket, private val to: Socket) {
    @Volatile
    var flows = true

    fun run() {
        runCatching {
            val bytes = ByteArray(8192)
            do {
                val count = from.getInputStream().read(bytes)
                while (!flows && !from.isClosed) Thread.sleep(5)
                if (count > 0) to.getOutputStream().write(bytes, 0, count)
            } while (count >= 0)
        }
        from.close()
        to.close()
    }
}

internal fun freePort(): Int = ServerSocket(0).use { it.localPort }

internal fun until(what: String, condition: suspend () -> Boolean) = runBlocking { eventually(what, { "" }, condition) }

internal suspend fun eventually(what: String, context: () -> String = { "" }, condition: suspend () -> Boolean) {
    val done = withTimeoutOrNull(PATIENCE_MS) {
        while (!condition()) delay(10)
    }
    checkNotNull(done) { "waited $PATIENCE_MS ms until $what\n${context()}" }
}
