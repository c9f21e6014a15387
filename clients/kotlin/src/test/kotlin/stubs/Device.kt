package stubs

import android.app.Activity
import android.app.Application
import android.app.Notification
import android.app.Service
import android.content.Context
import android.content.Intent
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CopyOnWriteArrayList

// What docs/android.md uses of Android, Firebase and Agora, as far as it uses it: signatures after their documentation, and
// behind them a device on which a test can see what was shown and joined.

/** What the app has shown and done. One app at a time runs on it. */
object Device {
    lateinit var application: Application
    val notifications = ConcurrentHashMap<Int, Notification>()
    val activities = CopyOnWriteArrayList<Activity>()
    val services = CopyOnWriteArrayList<Service>()
    val joined = CopyOnWriteArrayList<String>()

    /** Who is seen: uids of Agora. */
    val pictures = CopyOnWriteArrayList<Int>()
    val settings = ConcurrentHashMap<String, String>()

    @Volatile
    var audioMode = 0

    @Volatile
    var focused = false

    fun begin(app: Application) {
        application = app
        for (all in listOf(activities, services, joined, pictures)) all.clear()
        notifications.clear()
        app.onCreate()
    }

    fun open(intent: Intent) {
        val activity = intent.target.getDeclaredConstructor().newInstance() as Activity
        activity.intent = intent
        activities += activity
        activity.create()
    }

    fun serve(intent: Intent) {
        val service = intent.target.getDeclaredConstructor().newInstance() as Service
        services += service
        service.onStartCommand(intent, 0, 1)
    }

    fun <T> service(of: Class<T>): T = of.getDeclaredConstructor().newInstance()

    fun contextOf(): Context = application
}
