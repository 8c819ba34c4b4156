import CryptoKit
import Foundation
import TensorFlowLiteC

/// One job: a folder with a `plan.json`, which gets a `result.json` and a file for each output.
struct Job {
    let folder: URL
    let documents: Documents

    var id: String {
        return folder.lastPathComponent
    }

    var isDone: Bool {
        return FileManager.default.fileExists(atPath: folder.appendingPathComponent("result.json").path)
    }

    /// Does the job; what goes wrong is a result too. `process` tells runs of one process from those of others.
    func run(process: String) {
        let stages = Stages(folder)
        var result: [String: Any] = ["process": process, "device": Conditions.device()]
        do {
            if let stage = Stages.left(in: folder) {
                stages.enter(stage)
                throw JobFailed("device", "the app died in stage \(stage)")
            }
            result["before"] = Conditions.now()
            result["runtime"] = "tensorflow-lite-c"
            result["runtime_version"] = String(cString: TfLiteVersion())
            let found = try work(stages)
            result.merge(found) { $1 }
            result["status"] = "done"
        } catch let error as JobFailed {
            result.merge(failure(error.kind, error.message, stages)) { $1 }
        } catch {
            result.merge(failure("device", String(describing: error), stages)) { $1 }
        }
        result["after"] = Conditions.now()
        save(result)
    }

    private func failure(_ kind: String, _ message: String, _ stages: Stages) -> [String: Any] {
        return ["status": "failed", "kind": kind, "stage": stages.name, "message": message]
    }

    private func work(_ stages: Stages) throws -> [String: Any] {
        stages.enter("plan")
        let data = try Data(contentsOf: folder.appendingPathComponent("plan.json"))
        let plan = try Plan.read(data)
        let model = try documents.find(plan.model)
        var inputs: [Data] = []
        for input in plan.inputs {
            let content = try Data(contentsOf: documents.find(input.file))
            guard content.count == input.bytes * plan.samples else {
                throw JobFailed("input", "\(input.file) holds \(content.count) bytes, not \(input.bytes) a sample")
            }
            inputs.append(content)
        }
        var result: [String: Any] = [
            "job": plan.job,
            "delegate": plan.delegate,
            "plan_sha256": sha256(data),
            "model_sha256": sha256(try Data(contentsOf: model, options: .mappedIfSafe)),
        ]
        if plan.job == "time" {
            stages.enter("cool down")
            Conditions.coolDown()
            result["before"] = Conditions.now()
        }
        stages.enter("load")
        let baseline = Conditions.footprint()
        let began = Clock.nanoseconds()
        let interpreter = try Interpreter(
            path: model.path, delegate: plan.delegate, threads: plan.threads, precisionLoss: plan.precisionLoss)
        stages.enter("allocate")
        try interpreter.prepare(plan.inputs)
        result["init_us"] = Double(Clock.nanoseconds() - began) / 1e3
        result.merge(interpreter.delegation()) { $1 }
        let session = Session(interpreter: interpreter, plan: plan, inputs: inputs)
        if plan.job == "time" {
            result.merge(try session.time(stages)) { $1 }
            result["memory"] = Conditions.footprint().map { $0 as Any } ?? NSNull()
            result["memory_before"] = baseline.map { $0 as Any } ?? NSNull()
        }
        stages.enter("infer")
        let inferring = Clock.nanoseconds()
        let outputs = try session.answer()
        result["seconds"] = Double(Clock.nanoseconds() - inferring) / 1e9
        stages.enter("write")
        for (output, content) in zip(plan.outputs, outputs.contents) {
            try content.write(to: folder.appendingPathComponent(output.file), options: .atomic)
        }
        result["outputs"] = outputs.described
        return result
    }

    /// Written beside and renamed, so that it is whole or not there.
    private func save(_ result: [String: Any]) {
        let file = folder.appendingPathComponent("result.json")
        do {
            let data = try JSONSerialization.data(withJSONObject: result, options: [.sortedKeys])
            try data.write(to: file, options: .atomic)
        } catch {
            NSLog("edge-export: %@ cannot be written: %@", file.path, String(describing: error))
        }
    }

    private func sha256(_ data: Data) -> String {
        return SHA256.hash(data: data).map { String(format: "%02x", $0) }.joined()
    }
}
