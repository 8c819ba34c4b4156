import Darwin

/// Nanoseconds since some moment, also while the phone sleeps.
enum Clock {
    private static let timebase: mach_timebase_info_data_t = {
        var found = mach_timebase_info_data_t()
        mach_timebase_info(&found)
        return found
    }()

    static func nanoseconds() -> UInt64 {
        return mach_continuous_time() * UInt64(timebase.numer) / UInt64(timebase.denom)
    }
}

/// The middle of some numbers, between the two middle ones of an even count.
func median(_ values: ArraySlice<Double>) -> Double {
    let sorted = values.sorted()
    let middle = sorted.count / 2
    if sorted.isEmpty {
        return .nan
    }
    return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
