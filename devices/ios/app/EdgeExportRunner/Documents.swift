import Foundation

/// The app's Documents folder, into which plans, models and inputs were copied.
struct Documents {
    private let files: [String: URL]

    /// The folders with a plan, in the order of their names, which is the order to run them in.
    let jobs: [URL]

    init() {
        let root = FileManager.default.urls(for: .documentDirectory, in: .userDomainMask)[0]
        var files: [String: URL] = [:]
        var jobs: [URL] = []
        if let walk = FileManager.default.enumerator(at: root, includingPropertiesForKeys: nil) {
            for case let file as URL in walk {
                if file.lastPathComponent == "plan.json" {
                    jobs.append(file.deletingLastPathComponent())
                } else {
                    files[file.lastPathComponent] = file
                }
            }
        }
        self.files = files
        self.jobs = jobs.sorted { $0.lastPathComponent < $1.lastPathComponent }
    }

    /// The file of that name, wherever under Documents it is: names of models and inputs are digests, hence unique.
    func find(_ name: String) throws -> URL {
        guard let file = files[name] else {
            throw JobFailed("input", "\(name) was not copied to the phone")
        }
        return file
    }
}
