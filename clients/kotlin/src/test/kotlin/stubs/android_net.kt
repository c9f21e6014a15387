package android.net

class Network

class ConnectivityManager {
    open class NetworkCallback {
        open fun onAvailable(network: Network): Unit = Unit
    }

    /** Says at once what there is, as a device does. */
    fun registerDefaultNetworkCallback(callback: NetworkCallback) = callback.onAvailable(Network())
}
