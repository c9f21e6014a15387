package app.onlycare.signaling

import io.socket.client.Ack
import io.socket.client.IO
import io.socket.client.Manager
import io.socket.client.Socket
import io.socket.client.SocketIOException
import io.socket.engineio.client.Transport
import io.socket.engineio.client.transports.WebSocket
import java.io.Closeable
import java.net.URI
import java.util.concurrent.Callable
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.ScheduledFuture
import java.util.concurrent.ScheduledThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicInteger
import kotlin.random.Random
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.flow
import okhttp3.ConnectionPool
import okhttp3.Dispatcher
import okhttp3.OkHttpClient

/** Gives the bearer token. */
public fun interface TokenProvider {
    /**
     * Asked at every attempt to connect, on a thread of its own; it may block, for 30 s at most, and be asked once more
     * meanwhile, where the network changed. Null or an empty text means that nobody is logged in; an exception, that the
     * token could not be had this time and is asked for again.
     */
    @Throws(Exception::class)
    public fun token(): String?
}

/** Hears of something, on a thread of the phone. */
public fun interface Listener<T> {
    /** Must return soon: the next news waits for it. */
    public fun on(value: T)
}

/** Hears of events of the application, on a thread of the phone. */
public fun interface AppEventListener {
    /**
     * Must return soon: the next news waits for it.
     *
     * @param name begins with `app:`
     * @param data what the backend sent with it; empty if nothing
     */
    public fun on(name: String, data: Map<String, Any?>)
}

/**
 * What a phone is made of.
 *
 * @property url the server, such as `https://signaling.example.com`, without a path
 * @property userId whose phone it is: the id that Laravel knows, such as `USR_1001`
 * @property deviceId this installation, 1 to 64 bytes of UTF-8, the same at every start. Keep it: "answered elsewhere" is
 *   told by it, and a call that goes on is found again by it
 * @property token asked at every attempt to connect
 * @property transports polling first and then a websocket, unless told otherwise
 * @throws IllegalArgumentException if [url] is no address or has a path, or [deviceId] is empty or longer
 */
public class PhoneOptions @JvmOverloads constructor(
    public val url: String,
    public val userId: String,
    public val deviceId: String,
    public val token: TokenProvider,
    public val transports: List<String> = listOf("polling", "websocket"),
) {
    init {
        val address = runCatching { URI(url) }.getOrNull()
        require(address?.host != null && address.scheme?.lowercase() in SCHEMES) {
            "url is \"$url\" and no address, such as https://signaling.example.com"
        }
        val path = address?.path.orEmpty()
        require(path == "" || path == "/") {
            "url is \"$url\" and has the path $path, which Socket.IO takes for a namespace: leave it out"
        }
        val bytes = deviceId.toByteArray().size
        require(bytes in 1..DEVICE_BYTES) { "deviceId has $bytes bytes: the server takes 1 to $DEVICE_BYTES" }
    }

    private companion object {
        const val DEVICE_BYTES = 64
        val SCHEMES = setOf("http", "https", "ws", "wss")
    }
}

/**
 * What comes with a call that is dialled. All of it reaches the callee's phone, up to 4 KiB.
 *
 * @property callId the id that the backend gave the call. Without one it is made here
 * @property channelName the media channel. Without one it is the call's id
 * @property agoraToken the callee's token for the media channel
 * @property further whatever else the callee's app reads: texts, numbers, booleans, lists and maps
 */
public class CallOptions @JvmOverloads constructor(
    public val callId: String? = null,
    public val channelName: String? = null,
    public val agoraToken: String = "",
    public val further: Map<String, Any?> = emptyMap(),
)

/**
 * One user on one device: keeps the connection, and has his calls. May be used from any thread.
 *
 * ```kotlin
 * val phone = Phone(PhoneOptions("http://127.0.0.1:3001", "USR_1001", "kitchen-tablet", { "a bearer token" }))
 * phone.connect()
 * phone.incoming.collect { call -> call.answer() }
 * ```
 */
public class Phone(private val options: PhoneOptions) : Closeable {
    /** Whose phone it is. */
    public val userId: String get() = options.userId

    /** All steps, in order. */
    private val worker = executor("signaling")

    /** Listeners, so that no foreign code holds up a step. */
    private val news = executor("signaling-news")
    private var state = initial(options.userId)
    internal var socket: Socket? = null
        private set

    /** What all connections share: certificates, and sessions of TLS that are resumed. */
    private val base by lazy { OkHttpClient.Builder().readTimeout(READ_MS, TimeUnit.MILLISECONDS).build() }

    /** What the connection of now is made with. Left to itself the library has one for all: a request may go by a connection
     * over a network that is gone, and five that still wait for their answers there let no further one go. */
    private var http: OkHttpClient? = null

    /** Counts attempts to connect: what an older one has to say is not heard. */
    private var attempt = 0
    private var requests = 0

    /** Threads of the token provider. */
    private val asking = AtomicInteger()
    private val waiting = HashMap<Int, CompletableDeferred<Outcome>>()

    /** What is told behind the step that it is of. */
    private val untold = ArrayDeque<() -> Unit>()
    private var showing = false
    private val answers = HashMap<Int, Any>()
    private val timers = HashMap<String, ScheduledFuture<*>>()
    private val handles = LinkedHashMap<String, Call>()
    private val entries = ArrayDeque<LogEntry>()

    /** What each collector has not come to yet. */
    private val incomingTo = LinkedHashSet<Channel<Call>>()
    private val restoredTo = LinkedHashSet<Channel<Call>>()
    private val incomings = Listeners<Call>(::failed)
    private val restorations = Listeners<Call>(::failed)
    private val links = Listeners<Link>(::failed)
    private val presences = Listeners<Map<String, Boolean>>(::failed)
    private val appEvents = Listeners<Effect.App>(::failed)
    private val mutableLink = MutableStateFlow(state.link)
    private val mutableCalls = MutableStateFlow<List<Call>>(emptyList())
    private val mutablePresence = MutableStateFlow<Map<String, Boolean>>(emptyMap())

    @Volatile
    private var offset = 0L

    /** Whether the server is there. */
    public val link: StateFlow<Link> get() = mutableLink

    /** The calls that are not over, oldest first. */
    public val calls: StateFlow<List<Call>> get() = mutableCalls

    /** Who of the watched users is online, as far as it is known. */
    public val presence: StateFlow<Map<String, Boolean>> get() = mutablePresence

    /** The last 100 steps, and why a connection could not be made: for a bug report, and for [LinkStatus.WAITING] that does
     * not end. */
    public val log: List<LogEntry> get() = synchronized(entries) { entries.toList() }

    /**
     * Calls that ring here, each once, whether it came over the socket or as a push; with those that ring when somebody
     * begins to collect. Each collector has them all: one that is busy finds what came meanwhile, up to 64, behind what it is
     * at, also a call that is over by then ([Phase.ENDED]: it was missed).
     *
     * ```kotlin
     * phone.incoming.collect { call -> println("${call.fields["callerName"]} calls") }
     * ```
     */
    public val incoming: Flow<Call> =
        each(incomingTo) { call -> call.role == Role.CALLEE && call.state.value.phase == Phase.RINGING }

    /**
     * Calls that were going on when this phone connected, and that this process does not know: it was restarted, or it
     * is another device that is in the call. [Call.answer] takes part in a callee's again, and is refused with
     * [ErrorCode.ANSWERED_ELSEWHERE] if it is another device's.
     */
    public val restored: Flow<Call> = each(restoredTo) { call -> call.state.value.restored }

    /** The server's clock now, in milliseconds since the epoch; before the first session, this device's. */
    public fun serverNow(): Long = System.currentTimeMillis() + offset

    /** Connects, and stays connected: for ever, but for a [link] that says [LinkStatus.REFUSED]. Also the way back from
     * there. */
    public fun connect(): Unit = post(Input.Start)

    /** The app came back to the front, or the network changed: connects at once instead of waiting, also where it tries to
     * for more than 2 s, and looks whether a connection that seems to be there still is. */
    public fun resume(): Unit = post(Input.Resume)

    /** Disconnects for good, as on a logout. Calls end here as [EndReason.LOST]; hang up first. Open results are
     * [ErrorCode.CLOSED]. [connect] begins anew, and says what ended a call and was not heard. */
    override fun close() {
        onWorker {
            take(Input.Stop)
            for (timer in timers.values) timer.cancel(false)
            timers.clear()
        }
    }

    /**
     * Dials. While a call to the same user of the same type goes on it is that call, so a second tap does nothing; every
     * other call of this phone ends. The call is there at once; [Call.dialled] is what the server says.
     *
     * ```kotlin
     * val call = phone.call("USR_1002", CallType.VIDEO, CallOptions(channelName = "channel-1", agoraToken = "006a"))
     * val dialled = call.dialled()
     * if (dialled.error?.code == ErrorCode.BUSY) println("he talks to somebody else")
     * ```
     */
    @JvmOverloads
    public fun call(userId: String, callType: CallType, options: CallOptions = CallOptions()): Call {
        val callId = options.callId ?: "CALL_${System.currentTimeMillis()}${Random.nextInt(1_000_000)}"
        val channelName = options.channelName ?: callId
        val given = options.further + mapOf("channelName" to channelName, "agoraToken" to options.agoraToken)
        val (read, fault) = readOnce(given, EVENT_BYTES)
        @Suppress("UNCHECKED_CAST")
        val fields = read as Fields? ?: emptyMap()
        return onWorker {
            val result = CompletableDeferred<Outcome>()
            val request = ask(result)
            take(Input.Dial(request, callId, userId, callType.name, fields, fault))
            val dialled = answers.remove(request) as String
            val call = handle(keyOf(dialled)) ?: error("a call that was dialled is recorded")
            call.dials(result)
            call
        }
    }

    /** Watches users, up to 500 in all; those beyond, and what is no id of a user, are left out. Kept over reconnects. */
    public fun watch(vararg userIds: String): Unit = post(Input.Watch(userIds.toList()))

    /** No longer watches them. */
    public fun unwatch(vararg userIds: String): Unit = post(Input.Unwatch(userIds.toList()))

    /**
     * The data of a push. Of one call, whichever of push and socket comes first rings, and the other adds to it; a push
     * that is older than 20 s, or of a call that is over, does not ring. Call [connect] as well: a push is no
     * connection.
     *
     * ```kotlin
     * phone.connect()
     * val data = mapOf("type" to "incoming_call", "callId" to "CALL_17", "callerId" to "USR_1001")
     * if (phone.handlePush(data) == PushOutcome.NOT_A_CALL) println("somebody else handles it")
     * ```
     */
    public fun handlePush(data: Map<String, Any?>): PushOutcome = onWorker {
        val request = ++requests
        take(Input.Push(request, data))
        answers.remove(request) as PushOutcome
    }

    /** For Java: [incoming]. Close what it gives to hear no more. */
    public fun onIncoming(listener: Listener<Call>): Closeable = hear(incomings, listener) {
        mutableCalls.value.filter { it.role == Role.CALLEE && it.state.value.phase == Phase.RINGING }
    }

    /** For Java: [restored]. Close what it gives to hear no more. */
    public fun onRestored(listener: Listener<Call>): Closeable =
        hear(restorations, listener) { mutableCalls.value.filter { it.state.value.restored } }

    /** For Java: [link], every change and how it is now. Close what it gives to hear no more. */
    public fun onLink(listener: Listener<Link>): Closeable = hear(links, listener) { listOf(state.link) }

    /** For Java: [presence], after every change. Close what it gives to hear no more. */
    public fun onPresence(listener: Listener<Map<String, Boolean>>): Closeable =
        hear(presences, listener) { emptyList() }

    /** What the backend sends to this user (`POST /api/users/{userId}/emit`), while a connection is there: none is kept.
     * Close what it gives to hear no more. */
    public fun onAppEvent(listener: AppEventListener): Closeable =
        hear(appEvents, { event -> listener.on(event.name, event.data) }) { emptyList() }

    internal fun say(input: (request: Int) -> Input): CompletableDeferred<Outcome> {
        val result = CompletableDeferred<Outcome>()
        worker.execute { take(input(ask(result))) }
        return result
    }

    internal fun tell(what: () -> Unit) {
        news.execute {
            try {
                what()
            } catch (failure: Throwable) {
                failed(failure)
            }
        }
    }

    /** From now on [listener] hears what [all] do, after what there is [now]. It joins behind the news that are on their way
     * already: they are part of [now]. */
    internal fun <T> hear(all: Listeners<T>, listener: Listener<T>, now: () -> List<T>): Closeable = onWorker {
        val first = now()
        val one = all.One(listener)
        news.execute { one.join(first) }
        one
    }

    internal fun failed(failure: Throwable) {
        write("a listener failed: ${failure.javaClass.name}")
        failure.printStackTrace()
    }

    internal fun <T> onWorker(work: () -> T): T =
        if (worker.isHere) work() else worker.submit(Callable { work() }).get()

    private fun ask(result: CompletableDeferred<Outcome>): Int {
        requests += 1
        waiting[requests] = result
        return requests
    }

    private fun post(input: Input) = worker.execute { take(input) }

    private fun take(input: Input) {
        val before = state
        val (after, effects) = step(before, input, System.currentTimeMillis(), Random.nextDouble())
        state = after
        offset = clockOffset(after.clock)
        note(input, before, after)
        if (before.link != after.link) untold.addLast { tell { links.tell(after.link) } }
        if (before.online != after.online) untold.addLast { tell { presences.tell(after.online) } }
        for (effect in effects) perform(effect)
        if (!showing) show()
    }

    /** Collectors without a thread of their own (`Dispatchers.Unconfined`) run within this. What they say is a step of its own,
     * done at once and shown behind this one. */
    private fun show() {
        showing = true
        try {
            do {
                val shown = state
                for (record in shown.calls) handles[record.key]?.update(record)
                val alive = shown.calls.filter { it.phase != Phase.ENDED }.mapNotNull { handle(it.key) }
                handles.keys.retainAll(state.calls.mapTo(HashSet()) { it.key })
                mutableCalls.value = alive
                mutablePresence.value = shown.online
                mutableLink.value = shown.link
                while (shown === state) (untold.removeFirstOrNull() ?: break)()
            } while (shown !== state)
        } finally {
            showing = false
        }
    }

    private fun perform(effect: Effect) {
        when (effect) {
            is Effect.Connect -> open(effect.openMs)
            Effect.Disconnect -> disconnect()
            is Effect.Timer -> {
                timers.remove(effect.name)?.cancel(false)
                val fire = Runnable {
                    timers.remove(effect.name)
                    take(Input.Timer(effect.name))
                }
                timers[effect.name] = worker.schedule(fire, effect.ms, TimeUnit.MILLISECONDS)
            }
            is Effect.Send -> send(effect)
            is Effect.Resolve ->
                waiting.remove(effect.request)?.let { result -> untold.addLast { result.complete(effect.outcome) } }
            is Effect.Dialled -> answers[effect.request] = effect.callId
            is Effect.Pushed -> answers[effect.request] = effect.outcome
            is Effect.Incoming -> handle(keyOf(effect.callId))?.let { tellOf(it, incomingTo, incomings) }
            is Effect.Restored -> handle(keyOf(effect.callId))?.let { tellOf(it, restoredTo, restorations) }
            is Effect.Message -> {
                val message = Message(effect.senderId, effect.data, effect.timestamp, effect.messageId, effect.kept)
                handle(keyOf(effect.callId))?.let { call -> untold.addLast { call.hear(message) } }
            }
            is Effect.Presence -> Unit
            is Effect.App -> untold.addLast { tell { appEvents.tell(effect) } }
        }
    }

    /** An attempt to connect: what it has to say is not heard once there is a newer one. */
    private inner class Attempt(private val number: Int) {
        /** @param why for the log */
        fun says(input: Input, why: String? = null) = then {
            if (why != null) write(why)
            take(input)
        }

        fun then(work: () -> Unit) = worker.execute { if (number == attempt) work() }
    }

    private fun open(openMs: Long) {
        disconnect()
        val mine = Attempt(++attempt)
        if (asking.incrementAndGet() > ASKING) {
            asking.decrementAndGet()
            mine.says(Input.Closed(false), "could not connect: the token provider still works on what it was asked before")
            return
        }
        val ask = Thread({
            val token = try {
                options.token.token()
            } catch (failure: Throwable) {
                // Without its message, which may quote a token.
                mine.says(Input.Closed(false), "the token provider failed: ${failure.javaClass.name}")
                return@Thread
            } finally {
                asking.decrementAndGet()
            }
            mine.then { if (token.isNullOrEmpty()) take(Input.NoToken) else open(token, openMs, mine) }
        }, "signaling-token")
        ask.isDaemon = true
        ask.start()
    }

    private fun open(token: String, openMs: Long, mine: Attempt) {
        val settings = IO.Options()
        // Texts only: the library sends no other values here.
        settings.auth = mapOf(
            "token" to token, "userId" to options.userId, "deviceId" to options.deviceId, "acks" to "true",
        )
        settings.transports = options.transports.toTypedArray()
        // The machine decides when to come back, with a fresh token.
        settings.reconnection = false
        settings.forceNew = true
        // Until the transport is open. The CONNECT, which the server may hold for longer, is the machine's to wait for.
        settings.timeout = openMs
        val client = base.newBuilder().dispatcher(Dispatcher()).connectionPool(ConnectionPool()).build()
        settings.callFactory = client
        settings.webSocketFactory = client
        http = client
        val opened = IO.socket(URI.create(options.url), settings)
        socket = opened
        opened.on(Socket.EVENT_CONNECT) { mine.says(Input.Connected) }
        opened.on(Socket.EVENT_CONNECT_ERROR) { arguments ->
            // A refusal is a packet of the server; all else is the transport.
            val said = fromJson(arguments.firstOrNull())
            val input = if (said is Map<*, *>) Input.Refused(said["message"].toString()) else Input.Closed(false, isTimeout(said))
            mine.says(input, "could not connect: ${causeOf(said)}")
        }
        opened.on(Socket.EVENT_DISCONNECT) { arguments ->
            mine.says(Input.Closed(arguments.firstOrNull() == "io server disconnect"))
        }
        // Once the websocket has said `pong` polling is paused for it. If it breaks before it takes over, nothing passes any
        // more, and engine.io notices by the pings, half a minute later.
        opened.io().on(Manager.EVENT_TRANSPORT) { arguments ->
            val transport = arguments.firstOrNull() as? Transport
            if (transport?.name == WebSocket.NAME) {
                transport.once(Transport.EVENT_PACKET) {
                    for (end in listOf(Transport.EVENT_ERROR, Transport.EVENT_CLOSE)) transport.once(end) { mine.says(Input.Closed(false)) }
                }
            }
        }
        opened.onAnyIncoming { arguments ->
            val name = arguments.firstOrNull() as? String ?: return@onAnyIncoming
            // At once: the caller hears that it rings.
            if (name == "call:incoming") (arguments.lastOrNull() as? Ack)?.call()
            mine.says(Input.Event(name, fromJson(arguments.getOrNull(1).takeIf { it !is Ack })))
        }
        opened.connect()
    }

    private fun disconnect() {
        attempt += 1
        val old = socket ?: return
        socket = null
        old.off()
        old.offAnyIncoming()
        old.disconnect()
        val client = http ?: return
        http = null
        worker.schedule({ giveUp(client) }, LAST_WORDS_MS, TimeUnit.MILLISECONDS)
    }

    private fun giveUp(client: OkHttpClient) {
        client.dispatcher().cancelAll()
        client.dispatcher().executorService().shutdown()
        client.connectionPool().evictAll()
    }

    private fun send(effect: Effect.Send) {
        val mine = attempt
        val open = AtomicBoolean(true)
        val once = { input: Input ->
            if (open.compareAndSet(true, false)) worker.execute { if (mine == attempt) take(input) }
        }
        val ms = if (effect.command == "probe") Constants.PROBE_MS else Constants.ACK_MS
        val silence = Runnable { once(Input.Unanswered(effect.command, effect.key, effect.number)) }
        val timeout = worker.schedule(silence, ms, TimeUnit.MILLISECONDS)
        socket?.emit(effect.event, arrayOf(toJson(effect.payload))) { arguments ->
            timeout.cancel(false)
            once(Input.Ack(effect.command, effect.key, effect.number, fromJson(arguments.firstOrNull())))
        }
    }

    private fun handle(key: String): Call? =
        handles[key] ?: state.calls.find { it.key == key }?.let { record ->
            Call(this, record).also { handles[key] = it }
        }

    private fun tellOf(call: Call, collectors: Set<Channel<Call>>, listeners: Listeners<Call>) {
        untold.addLast {
            for (one in collectors) one.trySend(call)
            tell { listeners.tell(call) }
        }
    }

    /** Each of [calls] that is [wanted], and then what [collectors] are told of. */
    private fun each(collectors: MutableSet<Channel<Call>>, wanted: (Call) -> Boolean): Flow<Call> = flow {
        val waiting = Channel<Call>(Constants.CALLS_KEPT, BufferOverflow.DROP_OLDEST)
        // A step of its own: who joins within another one would be told twice of what is new in it.
        worker.execute {
            for (call in mutableCalls.value) if (wanted(call)) waiting.trySend(call)
            collectors += waiting
        }
        try {
            for (call in waiting) emit(call)
        } finally {
            worker.execute { collectors -= waiting }
        }
    }

    private fun note(input: Input, before: State, after: State) {
        val words = mutableListOf(input.javaClass.simpleName)
        when (input) {
            is Input.Event -> words += "${input.name} ${idIn(input.data)}"
            is Input.Push -> words += idIn(input.data)
            is Input.Ack -> words += "${input.command} ${input.key}"
            is Input.Unanswered -> words += "${input.command} ${input.key}"
            is Input.Dial -> words += input.callId
            is Input.Answer -> words += input.callId
            is Input.Decline -> words += input.callId
            is Input.Cancel -> words += input.callId
            is Input.HangUp -> words += input.callId
            is Input.AskVideo -> words += input.callId
            is Input.AnswerVideo -> words += input.callId
            is Input.ToAudio -> words += input.callId
            is Input.Say -> words += input.callId
            is Input.Timer -> words += input.name
            is Input.Refused -> words += input.message
            else -> Unit
        }
        if (before.link.status != after.link.status) words += "link ${after.link.status} ${after.link.reason ?: ""}"
        for (call in after.calls) {
            val was = before.calls.find { it.key == call.key }?.phase
            if (was != call.phase) words += "${call.id} ${call.phase} ${call.reason ?: ""}"
        }
        write(words.map(String::trim).filter { it != "" }.joinToString(" "))
    }

    private fun idIn(data: Any?): String = ((data as? Map<*, *>)?.get("callId") as? String).orEmpty().take(64)

    private fun write(text: String) {
        synchronized(entries) {
            entries.addLast(LogEntry(System.currentTimeMillis(), text))
            if (entries.size > LOG_STEPS) entries.removeAt(0)
        }
    }

    private companion object {
        const val LOG_STEPS = 100
        const val ASKING = 3
        const val EVENT_BYTES = 16 * 1024

        /** Of an answer to a request: a poll waits for a ping, which comes every 15 s. */
        const val READ_MS = 60_000L

        /** A connection that is left may take so long to say so. */
        const val LAST_WORDS_MS = 5_000L
    }
}

/** What the server, or each layer below it, says of a connection that could not be made: for the log, so without the query of
 * an address. */
internal fun causeOf(said: Any?): String {
    val words = when (said) {
        is Map<*, *> -> said["message"].toString()
        is Throwable -> generateSequence<Throwable>(said) { it.cause }.take(CAUSES)
            .joinToString(": ") { one -> listOfNotNull(one.javaClass.simpleName, one.message).joinToString(" ") }
        else -> said.toString()
    }
    return words.replace(QUERY, "").take(CAUSE_LENGTH)
}

/** Whether the `timeout` of the options ran out. */
private fun isTimeout(said: Any?) = said is SocketIOException && said.message == "timeout"

private const val CAUSES = 4
private const val CAUSE_LENGTH = 300
private val QUERY = Regex("\\?\\S*")

/** One thread, which ends when it has been idle for a while. */
internal class Worker(name: String, private val own: Any = Any()) :
    ScheduledThreadPoolExecutor(1, { work -> Own(own, work, name).also { it.isDaemon = true } }) {
    /** Not by its name: a coroutine that is debugged renames the thread that it runs on. */
    val isHere: Boolean get() = (Thread.currentThread() as? Own)?.of === own

    private class Own(val of: Any, work: Runnable, name: String) : Thread(work, name)
}

private var workers = 0

private fun executor(name: String): Worker {
    val number = synchronized(Phone::class.java) { ++workers }
    val worker = Worker("$name-$number")
    worker.setKeepAliveTime(10, TimeUnit.SECONDS)
    worker.allowCoreThreadTimeOut(true)
    worker.removeOnCancelPolicy = true
    return worker
}

/** Those who hear of one thing. What one of them throws is [failed], and the others hear all the same. */
internal class Listeners<T>(private val failed: (Throwable) -> Unit) {
    private val all = CopyOnWriteArrayList<One>()

    fun tell(value: T) {
        for (one in all) one.tell(value)
    }

    inner class One(private val listener: Listener<T>) : Closeable {
        @Volatile
        private var open = true

        fun join(first: List<T>) {
            for (value in first) tell(value)
            all += this
            if (!open) all -= this
        }

        fun tell(value: T) {
            if (!open) return
            try {
                listener.on(value)
            } catch (failure: Throwable) {
                failed(failure)
            }
        }

        override fun close() {
            open = false
            all -= this
        }
    }
}
