"""app.py's page, served in a thread of the test's own process."""

import threading
import time


class Served:
    """A page in a thread: its address, and the end of it."""

    def __init__(self, config, password=""):
        import uvicorn

        from page.server import listen, make_app

        listening = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings = uvicorn.Config(make_app(config, password), log_level="error", access_log=False)
        self.server = uvicorn.Server(settings)
        self.thread = threading.Thread(target=self.server.run, args=([listening],), daemon=True)
        self.thread.start()
        for _ in range(200):
            if self.server.started:
                return
            time.sleep(0.05)
        raise RuntimeError("the page did not start")

    def stop(self):
        self.server.should_exit = True
        self.thread.join(timeout=20)
