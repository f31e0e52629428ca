"""Threads beside one another and forked processes: numbers of threads stay whose they are."""

import os
import signal
import threading
import time

import cv2
import pytest
import torch

from utils.encoder import side_by_side


@pytest.fixture
def several_threads():
    """A program whose torch and OpenCV take several threads, as they do where nobody asks."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(2)
    cv2.setNumThreads(3)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


def test_work_in_several_threads_gives_their_number_back(several_threads):
    """The one who came first goes first, and the other one is still at it."""
    both, first_is_gone, seen = threading.Barrier(2), threading.Event(), []

    def first(item):
        both.wait(20)

    def second(item):
        both.wait(20)
        assert first_is_gone.wait(20)
        seen.append(cv2.getNumThreads())

    def work(function):
        list(side_by_side(function, [0], 2))
        if function is first:
            first_is_gone.set()

    threads = [threading.Thread(target=work, args=(function,)) for function in (first, second)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert seen == [1]  # OpenCV's threads would fight those that are still at work
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 3)
    started_later = []
    later = threading.Thread(target=lambda: started_later.append(torch.get_num_threads()))
    later.start()
    later.join(20)
    assert started_later == [2]


def test_numbers_come_back_after_an_error_too(several_threads):
    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda item: 1 / item, [0], 2))
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked there")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not(several_threads):
    product = torch.ones(300, 300) @ torch.ones(300, 300)  # which starts torch's threads
    torch.ones(10**6).add_(1)
    child = os.fork()
    if not child:
        torch.ones(10**6).add_(1)
        same = torch.equal(torch.ones(300, 300) @ torch.ones(300, 300), product)
        one = torch.get_num_threads() == cv2.getNumThreads() == 1
        os._exit(0 if same and one else 1)
    deadline = time.monotonic() + 20
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if done == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the forked process hangs")
    assert done[1] == 0
