import Foundation

/// What went wrong in one line: what it was, what was expected, and `fix:` what to do.
public struct ElirError: LocalizedError, Equatable {
    public let line: String
    public var errorDescription: String? { line }

    public init(_ line: String) {
        self.line = line
    }
}
