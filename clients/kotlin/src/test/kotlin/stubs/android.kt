package android

object R {
    object drawable {
        const val sym_action_call: Int = 1
        const val sym_call_incoming: Int = 2
    }
}
