import Foundation

/// One input tensor: its file holds `samples` times `bytes`, little-endian, in the tensor's own dtype.
struct InputSpec: Decodable {
    let name: String
    let index: Int
    let shape: [Int]
    let dtype: String
    let bytes: Int
    let file: String
}

/// One output tensor: what the model puts out goes to `file`, sample after sample, as it is.
struct OutputSpec: Decodable {
    let name: String
    let index: Int
    let dtype: String
    let file: String
}

/// What is in `plan.json`: the same contract as that of the other runners, with raw files for arrays.
///
/// Files are found by their names anywhere under Documents: what a copy makes of a folder that is there already
/// is not said anywhere.
struct Plan: Decodable {
    let id: String
    let job: String
    let name: String
    let model: String
    let delegate: String
    let threads: Int
    let samples: Int
    let inputs: [InputSpec]
    let outputs: [OutputSpec]
    let precisionLoss: Bool
    let minSamples: Int?
    let minSeconds: Double?
    let maxSeconds: Double?
    let minSampleUs: Double?
    let warmupMinSeconds: Double?
    let warmupMinInferences: Int?
    let warmupWindow: Int?
    let warmupTolerance: Double?
    let warmupMaxSeconds: Double?

    static func read(_ data: Data) throws -> Plan {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(Plan.self, from: data)
    }
}

/// A job that ends here. `kind`: `input` (bad model or arrays), `missing` (no delegate on this phone) or `device`.
struct JobFailed: Error {
    let kind: String
    let message: String

    init(_ kind: String, _ message: String) {
        self.kind = kind
        self.message = message
    }
}
