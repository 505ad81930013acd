import os
import threading

from blobdir.locks import ForkSafeLock


def test_free_in_a_forked_process():
    lock = ForkSafeLock()
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(5)
    pid = os.fork()
    if not pid:
        with lock:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    done.set()
    thread.join()


def test_excludes():
    lock, count = ForkSafeLock(), [0]

    def work():
        for _ in range(20_000):
            with lock:
                before = count[0]
                count[0] = before + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == [80_000]
