package android.view

import android.content.Context

open class View(@Suppress("UNUSED_PARAMETER") context: Context) {
    private var onClick: OnClickListener? = null

    fun interface OnClickListener {
        fun onClick(view: View)
    }

    fun setOnClickListener(listener: OnClickListener) {
        onClick = listener
    }

    fun click() = checkNotNull(onClick).onClick(this)
}

class SurfaceView(context: Context) : View(context)
