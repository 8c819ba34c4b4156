// One job: its plan read, its result written, whole or not at all. The rules are those of the other runners (job.py).

import Foundation
import UIKit

struct Plan: Decodable {
    struct Input: Decodable {
        let tensor: String
        let bytes: Int
    }

    let job: String
    let model: String
    let threads: Int
    let delegate: String
    let inputs: [Input]
    let min_samples: Int?
    let min_seconds: Double?
    let max_seconds: Double?
    let min_sample_us: Double?
    let warmup_min_seconds: Double?
    let warmup_min_inferences: Int?
    let warmup_window: Int?
    let warmup_tolerance: Double?
    let warmup_max_seconds: Double?
}

struct Failed: Error {
    let kind: String
    let message: String
}

final class Job {
    private let name: String
    private let results: URL
    private let jobs: URL
    private let models: URL
    private var stage = "start"
    private var result: [String: Any] = [:]

    init(name: String) {
        self.name = name
        let documents = FileManager.default.urls(for: .documentDirectory, in: .userDomainMask)[0]
        jobs = documents.appendingPathComponent("jobs").appendingPathComponent(name)
        models = documents.appendingPathComponent("models")
        results = documents.appendingPathComponent("results").appendingPathComponent(name)
    }

    /// The exit code: 0 done, 1 failed with a result that says how, 6 not even that.
    func run() -> Int32 {
        do {
            try FileManager.default.createDirectory(at: results, withIntermediateDirectories: true)
            result["conditions_before"] = Conditions.read()
            do {
                try work()
                result["status"] = "done"
            } catch let failed as Failed {
                result["status"] = "failed"
                result["kind"] = failed.kind
                result["stage"] = stage
                result["message"] = failed.message
            }
            result["conditions_after"] = Conditions.read()
            try write(JSONSerialization.data(withJSONObject: result), "result.json")
        } catch {
            fputs("\(error)\n", stderr)
            return 6
        }
        return result["status"] as? String == "done" ? 0 : 1
    }

    private func work() throws {
        enter("plan")
        let plan: Plan
        let data: Data
        do {
            plan = try JSONDecoder().decode(Plan.self, from: Data(contentsOf: jobs.appendingPathComponent("plan.json")))
            data = try Data(contentsOf: jobs.appendingPathComponent("inputs.bin"))
        } catch {
            throw Failed(kind: "input", message: "the plan cannot be read: \(error)")
        }
        enter("load")
        let began = Clock.now()
        let model = try Model(
            path: models.appendingPathComponent(plan.model).path, threads: plan.threads, delegate: plan.delegate)
        let initial = Clock.now() - began
        enter("allocate")
        let samples = try Samples(data: data, inputs: plan.inputs, model: model)
        result["runtime"] = "TensorFlowLiteC"
        result["runtime_version"] = model.version
        result["init_us"] = initial / 1e3
        result["outputs"] = model.outputNames
        result["delegated_ops"] = NSNull()
        result["partitions"] = NSNull()
        result["ops_left"] = NSNull()
        result["delegation_unknown"] = "TensorFlow Lite's C API does not list operators"
        switch plan.job {
        case "time": try time(plan, model, samples)
        case "answer": try answer(model, samples)
        default: throw Failed(kind: "input", message: "no such job: \(plan.job)")
        }
        result["memory"] = ["bytes": Conditions.footprint(), "kind": "phys_footprint"]
    }

    private func answer(_ model: Model, _ samples: Samples) throws {
        enter("infer")
        var outputs = Data()
        let began = Clock.now()
        for index in 0..<samples.count {
            try samples.feed(index, model)
            try model.invoke()
            outputs.append(try model.read())
        }
        result["seconds"] = (Clock.now() - began) / 1e9
        enter("write")
        try write(outputs, "outputs.bin")
    }

    private func time(_ plan: Plan, _ model: Model, _ samples: Samples) throws {
        guard let minSamples = plan.min_samples, let minSeconds = plan.min_seconds, let maxSeconds = plan.max_seconds,
            let sampleMicroseconds = plan.min_sample_us, let warmSeconds = plan.warmup_min_seconds,
            let warmInferences = plan.warmup_min_inferences, let window = plan.warmup_window,
            let tolerance = plan.warmup_tolerance, let warmLimit = plan.warmup_max_seconds
        else { throw Failed(kind: "input", message: "the plan lacks numbers") }
        var rotation = 0
        // A GPU's outputs are read inside the timed region: to run alone only hands the work over.
        let reading = plan.delegate != "cpu"

        func sample(_ count: Int) throws -> Double {
            try samples.feed(rotation % samples.count, model)
            rotation += 1
            let began = Clock.now()
            for _ in 0..<count {
                try model.invoke()
                if reading { _ = try model.read() }
            }
            return Clock.now() - began
        }

        enter("first inference")
        let first = try sample(1)
        enter("warm-up")
        let floor = sampleMicroseconds * 1e3
        var k = 1
        var count = 0
        var seen: [Double] = []
        var steady = false
        var began = Clock.now()
        while true {
            seen.append(try sample(k) / Double(k))
            count += k
            let seconds = (Clock.now() - began) / 1e9
            if k == 1 && seen.count == 5 && median(seen) < floor {
                k = calls(floor, median(seen))
                seen.removeAll()
            }
            steady = false
            if seen.count >= 2 * window {
                let last = median(Array(seen.suffix(window)))
                let before = median(Array(seen.suffix(2 * window).prefix(window)))
                steady = abs(last - before) <= tolerance * before
            }
            if (seconds >= warmSeconds && count >= warmInferences && steady) || seconds >= warmLimit { break }
        }
        if !seen.isEmpty { k = calls(floor, median(Array(seen.suffix(window)))) }
        enter("measure")
        var taken: [Double] = []
        began = Clock.now()
        while true {
            taken.append(try sample(k))
            let seconds = (Clock.now() - began) / 1e9
            if (taken.count >= minSamples && seconds >= minSeconds) || seconds >= maxSeconds { break }
        }
        enter("doubling")
        let pairs = max(1, min(9, Int(0.1 * minSeconds * 1e9 / (3 * median(taken)))))
        var one = Double.infinity
        var two = Double.infinity
        for _ in 0..<pairs {
            one = min(one, try sample(k))
            two = min(two, try sample(2 * k))
        }
        result["first_us"] = first / 1e3
        result["warmup_inferences"] = count
        result["warmup_steady"] = steady
        result["batch_k"] = k
        result["doubling_ratio"] = two / one
        result["samples_ns"] = taken.map { $0 / Double(k) }
    }

    private func calls(_ floor: Double, _ each: Double) -> Int {
        max(1, Int((floor / max(1, each)).rounded(.up)))
    }

    private func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    private func enter(_ name: String) {
        stage = name
        try? name.write(to: results.appendingPathComponent("stage"), atomically: true, encoding: .utf8)
    }

    /// Beside, then renamed: a file under its name is whole.
    private func write(_ data: Data, _ file: String) throws {
        try data.write(to: results.appendingPathComponent(file), options: .atomic)
    }
}
