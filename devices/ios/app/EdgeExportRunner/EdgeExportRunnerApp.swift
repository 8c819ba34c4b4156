import SwiftUI
import UIKit

/// Runs on launch, without a button: `--job NAME` does that one job and ends the process, so that every job has a
/// fresh one; without it (started by hand) all jobs that have no result are done in this process, one by one.
@main
struct EdgeExportRunnerApp: App {
    @StateObject private var runner = Runner()

    var body: some Scene {
        WindowGroup {
            Text(runner.status)
                .padding()
                .onAppear { runner.start() }
        }
    }
}

final class Runner: ObservableObject {
    @Published var status = "starting"
    private var started = false

    func start() {
        if started {
            return
        }
        started = true
        // A phone that locks its screen stops the app, and the GPU with it.
        UIApplication.shared.isIdleTimerDisabled = true
        let thread = Thread { [weak self] in self?.work() }
        thread.qualityOfService = .userInteractive
        thread.stackSize = 8 << 20
        thread.start()
    }

    private func work() {
        let process = UUID().uuidString
        let documents = Documents()
        let wanted = Runner.argument("--job")
        let jobs = documents.jobs.map { Job(folder: $0, documents: documents) }.filter { job in
            !job.isDone && (wanted == nil || wanted == job.id)
        }
        for (position, job) in jobs.enumerated() {
            say("job \(job.id), \(position + 1) of \(jobs.count)")
            job.run(process: process)
        }
        say(jobs.isEmpty ? "nothing to do" : "done")
        if wanted != nil {
            exit(jobs.isEmpty ? 1 : 0)
        }
    }

    private func say(_ line: String) {
        print("edge-export: \(line)")
        DispatchQueue.main.async { self.status = line }
    }

    private static func argument(_ name: String) -> String? {
        let given = CommandLine.arguments
        guard let position = given.firstIndex(of: name), position + 1 < given.count else {
            return nil
        }
        return given[position + 1]
    }
}
