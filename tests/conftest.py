import contextlib
import gc
import gzip
import importlib.util
import os
import struct
import subprocess
import threading
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from document_packages import missing_packages

ROOT = Path(__file__).parent.parent
if importlib.util.find_spec("torch"):
    os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras needs one, and TensorFlow is not installed for the tests

hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.register_profile("long", deadline=None, print_blob=True, max_examples=3000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


# Tests that `pytest -m "not slow"` leaves out, by how their names begin. Other tests carry the mark themselves.
SLOW = (
    "test_backend.py::test_bits_do_not_depend_on_threads_or_instruction_set",
    "test_build.py::test_source_distribution_does_not_depend_on_times_permissions_and_folders",
    "test_c.py",  # a compiler; make ctest is its fast form
    "test_checkpoint.py::test_a_kill_at_any_moment_leaves_a_whole_file",
    "test_cli.py::test_bench_prints_times_and_speedups",
    "test_cli.py::test_xor_prints_the_times_of_the_post",
    "test_cli_tables.py::test_the_network_is_the_one_of_fit_with_its_defaults",
    "test_command_line_page.py",
    "test_crash.py::test_a_killed_process_leaves_a_whole_file",
    "test_crash.py::test_ctrl_c_at_any_moment",
    "test_crash.py::test_many_save_the_same_file",
    "test_defaults.py::test_cross_validation_has_the_same_result_on_any_number_of_threads",
    "test_defaults.py::test_three_lines_are_enough[iris",
    "test_defaults.py::test_three_lines_are_enough[wine",
    "test_device_examples.py::test_commands_of_a_page",
    "test_device_examples.py::test_ctest_notices_another_bit",
    "test_device_examples.py::test_cycles_of_a_prediction",
    "test_device_examples.py::test_firmware",
    "test_device_examples.py::test_sketch_on_an_uno",
    "test_device_examples.py::test_webassembly",
    "test_draw.py::test_concurrent_requests",
    "test_draw_page.py",  # a browser
    "test_ensemble.py::test_ctrl_c",
    "test_fuzz.py::test_inputs[from_onnx]",
    "test_fuzz.py::test_inputs[load]",
    "test_fuzz.py::test_inputs[load_int8]",
    "test_fuzz.py::test_inputs[resume]",
    "test_fuzz.py::test_the_command",
    "test_fit.py::test_every_function_against_numpy",
    "test_limits.py::test_a_million",
    "test_limits.py::test_each_part_of_the_long_run_works",
    "test_limits.py::test_inputs_of_more_than_two_to_the_31_elements",
    "test_memory.py",
    "test_network.py::test_a_signal_handler_that_raises_nothing_stops_nothing",
    "test_network.py::test_ctrl_c",
    "test_network.py::test_python_goes_on_while_c_computes",
    "test_optimizers.py::test_levenberg_marquardt[",
    "test_out_of_memory.py",
    "test_post_notebook.py::test_code_cells_run",
    "test_published.py::test_results_are_those_of_the_post[finite differences-1000000]",
    "test_sklearn.py::test_losses",
    "test_sklearn.py::test_pipelines_searches_and_calibration",
    "test_sklearn.py::test_scikit_learns_own_checks",
    "test_state_machine.py::TestInterface",
    "test_state_machine.py::test_a_defect_is_found",
    "test_state_machine.py::test_random_calls",
    "test_threads.py",
)


def pytest_collection_modifyitems(config, items):
    names = [item.nodeid.rpartition("tests/")[2] for item in items]
    for item, name in zip(items, names, strict=True):
        # The hooks below do not see documents: where modules are required, the examples fail.
        if item.path.suffix == ".md" and not REQUIRED and (missing := missing_packages(item.path)):
            item.add_marker(pytest.mark.skip(reason=f"could not import {', '.join(missing)}"))
        if name.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    if config.args_source is config.ArgsSource.TESTPATHS:  # all tests are here: an entry without one was renamed
        files = {name.partition("::")[0] for name in names}
        for entry in SLOW:
            if entry.partition("::")[0] in files and not any(name.startswith(entry) for name in names):
                raise pytest.UsageError(f"{entry} in SLOW of {__file__} is no test")


# Modules that have to be there, with commas, as in NNPY_TEST_REQUIRE=torch,sklearn. With it no test may be skipped because an
# import failed, of these modules or of others.
REQUIRED = [name for name in os.environ.get("NNPY_TEST_REQUIRE", "").split(",") if name]


def pytest_configure():
    missing = [name for name in REQUIRED if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(f"NNPY_TEST_REQUIRE asks for {', '.join(missing)}, which cannot be imported")


def _fail_if_skipped_for_an_import(report):
    if REQUIRED and report.skipped and "could not import" in str(report.longrepr):
        report.outcome, report.longrepr = "failed", f"NNPY_TEST_REQUIRE is set, but: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return _fail_if_skipped_for_an_import((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return _fail_if_skipped_for_an_import((yield))


@pytest.fixture(autouse=True)
def _keep_what_signal_handlers_raise(request):
    """Stop the garbage collector in tests of Ctrl-C: Python drops what a handler raises within one of its callbacks.

    hypothesis registers such a callback.
    """
    if not request.node.name.startswith("test_ctrl_c"):
        yield
        return
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def start_process():
    """Start processes with text pipes; those that still run after the test are killed."""
    processes = []

    def start(arguments, **options):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def mnist_folder():
    """The real files; without them there is nothing to test."""
    folder = os.environ.get("NNPY_MNIST")
    if not folder:
        pytest.skip("NNPY_MNIST does not name a folder with the MNIST files")
    return Path(folder)


@pytest.fixture
def digits_folder(tmp_path):
    """Ten digits, each a row of pixels at its own height; the labels are plain, the images gzipped."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for name, copies in (("train", 50), ("t10k", 3)):
        labels = np.tile(np.arange(10, dtype=np.uint8), copies)
        images = np.zeros((len(labels), 28, 28), np.uint8)
        images[np.arange(len(labels)), 2 * labels] = 255
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(_idx(labels))
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(images)))
    return folder


def _idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture(scope="session")
def serving():
    """Serve the page of ``nnpy draw`` for a network, on any free port, as long as a block lasts."""
    from nnpy._commands import draw as _draw

    @contextlib.contextmanager
    def serve(net):
        with _draw.Server(net, 0) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield server
            server.shutdown()
            thread.join()

    return serve
