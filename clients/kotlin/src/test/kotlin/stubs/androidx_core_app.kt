package androidx.core.app

import android.app.Notification
import android.app.PendingIntent
import android.app.Service
import android.content.Context

class Person private constructor(val name: CharSequence?) {
    class Builder {
        private var name: CharSequence? = null

        fun setName(name: CharSequence?): Builder = apply { this.name = name }

        fun build() = Person(name)
    }
}

object NotificationCompat {
    const val CATEGORY_CALL: String = "call"
    const val PRIORITY_MAX: Int = 2

    abstract class Style

    class CallStyle private constructor(val person: Person, val decline: PendingIntent, val answer: PendingIntent) : Style() {
        companion object {
            fun forIncomingCall(person: Person, declineIntent: PendingIntent, answerIntent: PendingIntent) =
                CallStyle(person, declineIntent, answerIntent)
        }
    }

    @Suppress("UNUSED_PARAMETER")
    class Builder(context: Context, channel: String) {
        private var style: CallStyle? = null
        private var fullScreen: PendingIntent? = null
        private var timeoutMs: Long? = null

        fun setSmallIcon(icon: Int): Builder = this

        fun setCategory(category: String?): Builder = this

        fun setPriority(priority: Int): Builder = this

        fun setOngoing(ongoing: Boolean): Builder = this

        fun setTimeoutAfter(durationMs: Long): Builder = apply { timeoutMs = durationMs }

        fun setStyle(style: Style?): Builder = apply { this.style = style as? CallStyle }

        fun setFullScreenIntent(intent: PendingIntent?, highPriority: Boolean): Builder = apply { fullScreen = intent }

        fun build() = Notification(style?.person?.name?.toString(), fullScreen, style?.decline, style?.answer, timeoutMs)
    }
}

object ServiceCompat {
    fun startForeground(service: Service, id: Int, @Suppress("UNUSED_PARAMETER") notification: Notification, type: Int) {
        check(id != 0)
        service.foreground = type
    }
}
