#!/bin/bash
# Builds and installs the runner on an iPhone, runs every job in a process of its own, brings the results back.
#
#   DEVELOPMENT_TEAM    your team id (Xcode, Settings, Accounts), which signs the app
#   IOS_DEVICE          the phone: a UDID or name as `xcrun devicectl list devices` shows it
#   TFLITE_XCFRAMEWORKS a folder with TensorFlowLiteC.xcframework (and ...CMetal, ...CCoreML), instead of CocoaPods
#   TFLITE_VERSION      the release of the pod TensorFlowLiteC (default: the newest 2.x from 2.14 on)
#   BUNDLE_ID           of the app (default: org.edge-export.runner.TEAM)
#   JOB_SECONDS         time limit of one job (default: what the plan can take)
set -euo pipefail

fail() {
  echo "error: $1" >&2
  exit "$2"
}

[ "$(uname -s)" = Darwin ] || fail "this needs macOS with Xcode 15 or newer; copy this folder to a Mac" 3
cd -- "$(dirname -- "$0")"
command -v xcodebuild >/dev/null || fail "xcodebuild is missing; install Xcode 15 or newer from the App Store" 3
version=$(xcodebuild -version 2>/dev/null | awk '/^Xcode/ {print $2}') || true
[ "${version%%.*}" -ge 15 ] 2>/dev/null ||
  fail "Xcode is ${version:-not set up}, 15 or newer is needed; see xcode-select --switch" 3
xcrun devicectl device process launch --help 2>&1 | grep -q -- --console ||
  fail "devicectl of Xcode $version cannot wait for an app (launch --console); install Xcode 16" 3
[ -n "${DEVELOPMENT_TEAM:-}" ] || fail "DEVELOPMENT_TEAM is not set; give your team id (Xcode, Settings, Accounts)" 2
[[ "$DEVELOPMENT_TEAM" =~ ^[A-Za-z0-9]+$ ]] || fail "DEVELOPMENT_TEAM is no team id: letters and digits only" 2
if [ -z "${IOS_DEVICE:-}" ]; then
  xcrun devicectl list devices >&2 || true
  fail "IOS_DEVICE is not set; give the identifier of a phone above" 2
fi
[[ "$IOS_DEVICE" != -* ]] || fail "IOS_DEVICE must not begin with a dash" 2

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
xcrun devicectl device info details --device "$IOS_DEVICE" --timeout 60 --json-output "$work/details.json" >/dev/null ||
  fail "the phone $IOS_DEVICE is not reachable; connect and unlock it, trust this Mac, switch on Developer Mode" 4
# Xcode 27 says `properties` where earlier ones have a dictionary for each kind.
detail() {
  for path in "$@"; do
    plutil -extract "result.$path" raw -o - "$work/details.json" 2>/dev/null && return
  done
  return 1
}
ios=$(detail deviceProperties.osVersionNumber properties.state.osVersionNumber) || ios=unknown
udid=$(detail hardwareProperties.udid properties.hardware.udid) || udid=$IOS_DEVICE
if [ "$ios" != unknown ]; then
  [ "${ios%%.*}" -ge 17 ] || fail "the phone has iOS $ios; devicectl needs iOS 17 or newer" 3
fi

bundle_id=${BUNDLE_ID:-org.edge-export.runner.$DEVELOPMENT_TEAM}
settings=(-configuration Release -destination generic/platform=iOS -derivedDataPath build
  -allowProvisioningUpdates "DEVELOPMENT_TEAM=$DEVELOPMENT_TEAM" "PRODUCT_BUNDLE_IDENTIFIER=$bundle_id")
if [ -n "${TFLITE_XCFRAMEWORKS:-}" ]; then
  [ -d "$TFLITE_XCFRAMEWORKS/TensorFlowLiteC.xcframework/ios-arm64" ] ||
    fail "$TFLITE_XCFRAMEWORKS has no TensorFlowLiteC.xcframework with ios-arm64 in it" 3
  search="" link="-lc++"
  for name in TensorFlowLiteC TensorFlowLiteCMetal TensorFlowLiteCCoreML; do
    [ -d "$TFLITE_XCFRAMEWORKS/$name.xcframework/ios-arm64" ] || continue
    search="$search \"$TFLITE_XCFRAMEWORKS/$name.xcframework/ios-arm64\""
    link="$link -framework $name"
  done
  xcodebuild build -project app/EdgeExportRunner.xcodeproj -scheme EdgeExportRunner "${settings[@]}" \
    "FRAMEWORK_SEARCH_PATHS=$search" "OTHER_LDFLAGS=$link" >build.log 2>&1 ||
    fail "the app does not build; see build.log" 3
else
  command -v pod >/dev/null ||
    fail "CocoaPods is missing; brew install cocoapods, or set TFLITE_XCFRAMEWORKS to a folder of xcframeworks" 3
  pod install --project-directory=app >build.log 2>&1 || fail "pod install failed; see build.log" 3
  xcodebuild build -workspace app/EdgeExportRunner.xcworkspace -scheme EdgeExportRunner "${settings[@]}" \
    >>build.log 2>&1 || fail "the app does not build or cannot be signed; see build.log" 3
fi

# A container of its own, empty: no plan and no result of an earlier bundle is left in it.
xcrun devicectl device uninstall app --device "$IOS_DEVICE" --timeout 120 "$bundle_id" >/dev/null 2>&1 || true
xcrun devicectl device install app --device "$IOS_DEVICE" --timeout 300 \
  build/Build/Products/Release-iphoneos/EdgeExportRunner.app >>build.log 2>&1 ||
  fail "the app cannot be installed; see build.log" 4
container=(--device "$IOS_DEVICE" --domain-type appDataContainer --domain-identifier "$bundle_id")
for part in plans models inputs; do
  xcrun devicectl device copy to "${container[@]}" --timeout 3600 --source "$part" --destination "Documents/$part" \
    >>build.log 2>&1 || fail "$part cannot be copied to the phone; see build.log" 4
done

mkdir -p results
rm -rf -- results/plans
total=$(awk 'END {print NR}' jobs.txt)
number=0
while read -r job seconds; do
  number=$((number + 1))
  echo "job $job ($number of $total)"
  # devicectl ends with the app. What the job came to is in its result; an app that died left none.
  xcrun devicectl device process launch --console --terminate-existing --timeout "${JOB_SECONDS:-$seconds}" \
    --device "$IOS_DEVICE" "$bundle_id" -- --job "$job" </dev/null >>run.log 2>&1 ||
    echo "warning: job $job did not end well; see run.log" >&2
done <jobs.txt

xcrun devicectl device copy from "${container[@]}" --timeout 3600 --source Documents/plans \
  --destination results/plans >>run.log 2>&1 || fail "the results cannot be copied from the phone; see run.log" 4
cp manifest.json "$work/details.json" results/
printf '%s\n' "$udid" >results/udid.txt
(cd results && zip -qr ../results.zip .)
echo "done; take results.zip back to where the bundle was made: edge-export ios import results.zip --bundle BUNDLE"
