// Backend.kt
package guide

/** What the app has already: its login and its REST API. Here, in memory, what does to try it; yours keeps it where it
 * outlives the process, or a push wakes an app that nobody is logged in to. */
object Backend {
    /** The machine that an emulator runs on. */
    var signalingUrl = "http://10.0.2.2:3001"
    var userId = ""

    /** The bearer token, renewed where it is old; null when nobody is logged in. */
    var freshToken: () -> String? = { null }

    /** POST /calls/initiate: the row, its channel, the tokens of both sides. Without a backend: an Agora project that is
     * in testing mode asks for no tokens. */
    var createCall: suspend (callee: String) -> Created = {
        val id = "CALL_${System.currentTimeMillis()}"
        Created(id, "the App ID of your Agora project", id, "", "")
    }

    /** With `AUTH=insecure` any text is a token. */
    fun logIn(user: String) {
        userId = user
        freshToken = { "token-of-$user" }
    }

    fun logOut() {
        userId = ""
        freshToken = { null }
    }

    class Created(val callId: String, val agoraAppId: String, val channelName: String, val ownToken: String, val calleeToken: String)
}
