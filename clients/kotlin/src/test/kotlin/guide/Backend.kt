// Backend.kt
package guide

/** What the app has already: its REST API. */
object Backend {
    lateinit var signalingUrl: String
    lateinit var userId: String

    /** The bearer token, renewed where it is old; null when nobody is logged in. */
    var freshToken: () -> String? = { null }

    /** POST /calls/initiate: the row, its channel, the tokens of both sides. */
    var createCall: suspend (callee: String) -> Created = { error("not logged in") }

    class Created(val callId: String, val agoraAppId: String, val channelName: String, val ownToken: String, val calleeToken: String)
}
