"""What a first visit to each page costs on a slow line (1.6 Mbit/s, 150 ms) with a processor four times slower, in headless Chromium.

    python benchmarks/pages.py build/html/mini
"""

from __future__ import annotations

import functools
import http.server
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from built_book import toc_pages
from chromium import SLOW_LINE, AsPublished, start_chromium

WATCH = """window.tasks = [];
new PerformanceObserver((list) => list.getEntries().forEach((entry) => tasks.push(Math.round(entry.duration))))
  .observe({type: 'longtask', buffered: true});"""
ASK = """const seen = (kind) => performance.getEntriesByType(kind);
return [performance.getEntriesByName('first-contentful-paint')[0].startTime, Math.max(0, ...tasks),
        [...seen('navigation'), ...seen('resource')].reduce((sum, entry) => sum + entry.transferSize, 0)];"""

if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(AsPublished, directory=sys.argv[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = start_chromium()
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", SLOW_LINE)
    browser.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": 4})
    for name in toc_pages():
        browser.execute_cdp_cmd("Network.clearBrowserCache", {})
        browser.get(f"http://127.0.0.1:{server.server_port}/{name}.html")
        time.sleep(1)
        paint_ms, task_ms, loaded = browser.execute_script(ASK)
        print(f"{name:38} first paint {paint_ms / 1000:.1f} s, longest task {task_ms} ms, {loaded / 1e6:.2f} MB")
    browser.quit()
