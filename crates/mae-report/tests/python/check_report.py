"""Opens a report, or a comparison of runs, in headless Chromium without a network. Fails if anything on the page does not work.

    python check_report.py PAGE [--comparison] [--screenshot out.png] [--dark] [--width 1320]

Needs Chromium: Debian's package `chromium`, or a program named by the environment variable CHROMIUM.
"""

import argparse
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Inserted before everything else on the page, so that it records every error.
LISTEN = """<script>
window.problems = [];
window.addEventListener("error", (e) => problems.push("error: " + (e.message || e.target.outerHTML.slice(0, 100))), true);
window.addEventListener("unhandledrejection", (e) => problems.push("rejected: " + e.reason));
console.error = (...words) => problems.push("console: " + words.join(" "));
</script>"""

# Inserted after everything else: uses the page as a reader would, and writes its findings into a <pre>.
PROBE = """<script>
window.addEventListener("load", () => {
  const found = { problems, curves: [], pictures: [], outside: [] };
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  for (const chart of all("figure.chart")) {
    const plot = chart.querySelector(".plot");
    const paths = () => all("path.curve:not(.level)", plot).map((path) => path.getAttribute("d"));
    const before = paths();
    const box = plot.getBoundingClientRect();
    const at = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true };
    plot.dispatchEvent(new PointerEvent("pointermove", at));
    const hover = chart.querySelector(".tip").hidden ? "" : chart.querySelector(".tip").innerText;
    plot.dispatchEvent(new PointerEvent("pointerleave"));
    const button = chart.querySelector("button");
    button?.click();
    const log = paths();
    button?.click();
    found.curves.push({
      title: chart.querySelector("h3").innerText,
      points: before.map((d) => (d.match(/[ML]/g) || []).length),
      drawn: before.every((d) => d !== "" && !/NaN|Infinity|undefined/.test(d)),
      hover,
      toggles: button === null || (log.join() !== before.join() && paths().join() === before.join()),
    });
  }
  const pictures = all(".pictures img");
  const pick = document.getElementById("pick");
  pictures.forEach((picture, i) => {
    pick.value = i;
    pick.dispatchEvent(new Event("input"));
    const visible = pictures.filter((p) => p.getBoundingClientRect().width > 0);
    const chosen = visible.length === 1 && visible[0] === picture;
    found.pictures.push({ width: picture.naturalWidth, chosen, label: document.getElementById("shown").value });
  });
  found.outside = performance.getEntriesByType("resource").map((r) => r.name).filter((n) => !n.startsWith("data:"));
  found.height = document.documentElement.scrollHeight;
  found.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const pre = document.createElement("pre");
  pre.id = "found";
  pre.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
  document.body.append(pre);
});
</script>"""


def chromium(args: list[str]) -> subprocess.CompletedProcess:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("no Chromium was found: install the package `chromium` or set CHROMIUM")
    with tempfile.TemporaryDirectory() as profile:
        common = [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            # No host resolves, so that requests to the outside fail.
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            "--virtual-time-budget=10000",
        ]
        return subprocess.run(common + args, capture_output=True, text=True, timeout=180)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--comparison", action="store_true", help="the page is from `mae compare`: curves over epochs, no pictures")
    parser.add_argument("--screenshot", type=Path, help="write the whole page as a PNG file")
    parser.add_argument("--dark", action="store_true", help="use dark colours")
    parser.add_argument("--width", type=int, default=1320, help="width of the window in pixels (default: 1320)")
    args = parser.parse_args()
    page = args.report.read_text(encoding="utf-8")
    colours = [f"--blink-settings=preferredColorScheme={0 if args.dark else 1}"]

    with tempfile.TemporaryDirectory() as folder:
        probed = Path(folder) / "report.html"
        head, body = page.split("<head>", 1)
        body, end = body.rsplit("</body>", 1)
        probed.write_text(f"{head}<head>{LISTEN}{body}{PROBE}</body>{end}", encoding="utf-8")
        size = [f"--window-size={args.width},1000"]
        run = chromium([*colours, *size, "--dump-dom", probed.as_uri()])
    match = re.search(r'<pre id="found">([^<]*)</pre>', run.stdout)
    if match is None:
        sys.exit(f"the page was not loaded to its end:\n{run.stderr[-2000:]}")
    found = json.loads(base64.b64decode(match[1]))

    problems = list(found["problems"])
    problems += [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    problems += [f"loaded from outside: {name}" for name in found["outside"]]
    if not found["curves"]:
        problems.append("no chart was drawn")
    for curve in found["curves"]:
        if not curve["drawn"] or not curve["points"] or min(curve["points"]) < 1:
            problems.append(f"{curve['title']}: a curve is missing: {curve['points']} points")
        if ("epoch" if args.comparison else "step") not in curve["hover"]:
            problems.append(f"{curve['title']}: no values under the pointer")
        if not curve["toggles"]:
            problems.append(f"{curve['title']}: the logarithmic axis changes nothing")
    if not found["pictures"] and not args.comparison:
        problems.append("no picture is embedded")
    for picture in found["pictures"]:
        if picture["width"] == 0 or not picture["chosen"] or "step" not in picture["label"]:
            problems.append(f"a picture is not shown: {picture}")
    if found["overflow"] > 0:
        problems.append(f"the page is {found['overflow']} px wider than its window")
    if found["dark"] != args.dark:
        problems.append("the browser did not take the colours that it was told to")

    if args.screenshot:
        size = f"--window-size={args.width},{found['height']}"
        chromium([*colours, size, f"--screenshot={args.screenshot.resolve()}", args.report.resolve().as_uri()])
        if not args.screenshot.exists():
            problems.append("no screenshot was taken")
    for curve in found["curves"]:
        print(f"{curve['title']}: {' + '.join(map(str, curve['points']))} points")
    for problem in problems:
        print(f"PROBLEM {problem}")
    print(
        f"{len(found['curves'])} charts, {len(found['pictures'])} pictures, "
        f"{len(page) / 1e6:.1f} MB, {len(problems)} problems"
    )
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
