package com.google.firebase.messaging

import android.app.Service
import android.content.Intent
import android.os.IBinder

class RemoteMessage(val data: Map<String, String>)

abstract class FirebaseMessagingService : Service() {
    open fun onMessageReceived(message: RemoteMessage): Unit = Unit

    override fun onBind(intent: Intent): IBinder? = null
}
