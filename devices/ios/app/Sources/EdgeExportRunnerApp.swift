// Does the job that its arguments name, leaves a result in its Documents folder, and ends: one process, one job.
//
//     EdgeExportRunner --job 007
//
// Documents/jobs/007/plan.json and inputs.bin in, Documents/results/007/result.json, samples.bin or outputs.bin out.

import SwiftUI
import UIKit

@main
struct EdgeExportRunnerApp: App {
    init() {
        guard let name = Self.argument("--job") else { return }
        UIApplication.shared.isIdleTimerDisabled = true
        // Not on the main thread, which must go on answering, or the system ends the app.
        Thread.detachNewThread {
            let code = Job(name: name).run()
            exit(code)
        }
    }

    var body: some Scene {
        WindowGroup {
            Text(Self.argument("--job").map { "Job \($0)" } ?? "Started by run.sh, with a job.")
        }
    }

    private static func argument(_ name: String) -> String? {
        let words = CommandLine.arguments
        guard let at = words.firstIndex(of: name), at + 1 < words.count else { return nil }
        return words[at + 1]
    }
}
