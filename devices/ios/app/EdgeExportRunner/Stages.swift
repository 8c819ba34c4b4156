import Foundation

/// Writes the name of the stage being entered to a file, so that a crash can be placed.
final class Stages {
    private let file: URL
    private(set) var name = "start"

    init(_ folder: URL) {
        file = folder.appendingPathComponent("stage")
    }

    func enter(_ name: String) {
        self.name = name
        try? Data(name.utf8).write(to: file)
    }

    /// The stage that an earlier process was in, if one was.
    static func left(in folder: URL) -> String? {
        return try? String(contentsOf: folder.appendingPathComponent("stage"), encoding: .utf8)
    }
}
