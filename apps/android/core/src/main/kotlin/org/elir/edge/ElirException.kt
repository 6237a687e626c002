package org.elir.edge

/** What went wrong in one line: what it was, what was expected, and `fix:` what to do. */
class ElirException(message: String, cause: Throwable? = null) : Exception(message, cause)

/** The user asked to stop. */
class CancelledException : Exception("cancelled")
