import Foundation

/// How a call is timed: the numbers of a plan, all of them needed.
struct TimingPlan {
    let minSamples: Int
    let minSeconds: Double
    let maxSeconds: Double
    let floorNanoseconds: Double
    let warmupMinSeconds: Double
    let warmupMinInferences: Int
    let warmupWindow: Int
    let warmupTolerance: Double
    let warmupMaxSeconds: Double

    init(_ plan: Plan) throws {
        guard let minSamples = plan.minSamples, let minSeconds = plan.minSeconds, let maxSeconds = plan.maxSeconds,
            let minSampleUs = plan.minSampleUs, let warmupMinSeconds = plan.warmupMinSeconds,
            let warmupMinInferences = plan.warmupMinInferences, let warmupWindow = plan.warmupWindow,
            let warmupTolerance = plan.warmupTolerance, let warmupMaxSeconds = plan.warmupMaxSeconds
        else {
            throw JobFailed("input", "the plan lacks a number that a timing needs")
        }
        self.minSamples = minSamples
        self.minSeconds = minSeconds
        self.maxSeconds = maxSeconds
        self.floorNanoseconds = minSampleUs * 1e3
        self.warmupMinSeconds = warmupMinSeconds
        self.warmupMinInferences = warmupMinInferences
        self.warmupWindow = warmupWindow
        self.warmupTolerance = warmupTolerance
        self.warmupMaxSeconds = warmupMaxSeconds
    }
}

/// Times a call as the other runners do: the first one, a warm-up to steady state, then samples.
///
/// A sample is `k` calls, so many that it lasts `min_sample_us`; the inputs change between samples, outside the
/// timed region. The warm-up is steady when the median of the last `warmup_window` samples is within
/// `warmup_tolerance` of the window before. `doubling_ratio` is how much longer twice the calls take.
struct Timing {
    let plan: TimingPlan
    let stages: Stages
    let rotate: () throws -> Void
    let call: () throws -> Void

    func measure() throws -> [String: Any] {
        stages.enter("first inference")
        let first = try sample(1)
        stages.enter("warm-up")
        let warm = try warmUp()
        stages.enter("measure")
        let samples = try collect(warm.k)
        stages.enter("doubling")
        let ratio = try doubling(warm.k, typical: median(samples[...]))
        return [
            "first_us": first / 1e3,
            "warmup_inferences": warm.count,
            "warmup_steady": warm.steady,
            "batch_k": warm.k,
            "samples_ns": samples.map { $0 / Double(warm.k) },
            "doubling_ratio": ratio,
        ]
    }

    private func sample(_ k: Int) throws -> Double {
        try rotate()
        let began = Clock.nanoseconds()
        for _ in 0..<k {
            try call()
        }
        return Double(Clock.nanoseconds() - began)
    }

    private func warmUp() throws -> (k: Int, count: Int, steady: Bool) {
        let began = Clock.nanoseconds()
        var count = 0
        var k = 1
        var seen: [Double] = []
        var steady = false
        while true {
            seen.append(try sample(k) / Double(k))
            count += k
            let seconds = Double(Clock.nanoseconds() - began) / 1e9
            if k == 1 && seen.count == 5 && median(seen[...]) < plan.floorNanoseconds {
                k = calls(seen[...])
                seen = []
            }
            steady = isSteady(seen)
            let enough = seconds >= plan.warmupMinSeconds && count >= plan.warmupMinInferences
            if (enough && steady) || seconds >= plan.warmupMaxSeconds {
                break
            }
        }
        if !seen.isEmpty {
            k = calls(seen.suffix(plan.warmupWindow))
        }
        return (k, count, steady)
    }

    private func collect(_ k: Int) throws -> [Double] {
        var samples: [Double] = []
        let began = Clock.nanoseconds()
        while true {
            samples.append(try sample(k))
            let seconds = Double(Clock.nanoseconds() - began) / 1e9
            let enough = samples.count >= plan.minSamples && seconds >= plan.minSeconds
            if enough || seconds >= plan.maxSeconds {
                return samples
            }
        }
    }

    /// A tenth of the measurement's time goes into the check; of each the fastest, as other load only adds time.
    private func doubling(_ k: Int, typical: Double) throws -> Double {
        let pairs = max(1, min(9, Int(0.1 * plan.minSeconds * 1e9 / (3 * max(1, typical)))))
        var ones: [Double] = []
        var twos: [Double] = []
        for _ in 0..<pairs {
            ones.append(try sample(k))
            twos.append(try sample(2 * k))
        }
        return (twos.min() ?? 0) / max(1, ones.min() ?? 1)
    }

    private func calls(_ perCall: ArraySlice<Double>) -> Int {
        return max(1, Int((plan.floorNanoseconds / max(1, median(perCall))).rounded(.up)))
    }

    private func isSteady(_ seen: [Double]) -> Bool {
        let window = plan.warmupWindow
        if seen.count < 2 * window {
            return false
        }
        let last = median(seen.suffix(window))
        let before = median(seen[(seen.count - 2 * window)..<(seen.count - window)])
        return abs(last - before) <= plan.warmupTolerance * before
    }
}
