package android.widget

import android.content.Context
import android.view.View
import java.util.concurrent.CopyOnWriteArrayList

open class TextView(context: Context) : View(context) {
    var text: CharSequence = ""
    var hint: CharSequence = ""
}

class Button(context: Context) : TextView(context)

class EditText(context: Context) : TextView(context)

class LinearLayout(context: Context) : View(context) {
    val children = CopyOnWriteArrayList<View>()
    var orientation: Int = 0

    fun addView(view: View) {
        children += view
    }

    companion object {
        const val VERTICAL: Int = 1
    }
}
