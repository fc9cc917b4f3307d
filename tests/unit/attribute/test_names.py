"""What names mean: each group of names.toml against names that profilers have really written."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.attribute import examine
from perfkit.attribute.names import Names, expressions, pattern
from perfkit.model.prediction import Which
from tests.unit.attribute.hand_made import call, launched, trace

# Section and group: names that belong to it, and names that look much alike and do not.
NAMES: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("runtime", "launch"): (
        (
            "cudaLaunchKernel",
            "cudaLaunchKernelExC",
            "cudaLaunchCooperativeKernel",
            "cudaLaunchKernel_v7000",
            "cuLaunchKernel",
            "cuLaunchKernelEx",
            "hipLaunchKernel",
            "hipModuleLaunchKernel",
            "hipExtModuleLaunchKernel",
            "cudaGraphLaunch",
            "cudaGraphLaunch_v10000",
            "hipGraphLaunch",
        ),
        ("cudaLaunchHostFunc", "cudaStreamIsCapturing", "cudaFuncGetAttributes", "cudaGraphInstantiate"),
    ),
    ("runtime", "graph_launch"): (("cudaGraphLaunch", "cuGraphLaunch", "hipGraphLaunch"), ("cudaGraphInstantiate",)),
    ("runtime", "copy"): (
        (
            "cudaMemcpy",
            "cudaMemcpyAsync",
            "cudaMemcpy2DAsync",
            "cuMemcpyHtoDAsync_v2",
            "hipMemcpyWithStream",
            "cudaMemsetAsync",
            "cuMemsetD32Async",
            "hipMemset",
        ),
        ("cudaMalloc", "cudaMemGetInfo", "cudaMemPrefetchAsync"),
    ),
    ("runtime", "blocking_copy"): (
        ("cudaMemcpy", "cudaMemcpy2D", "cuMemcpyDtoH_v2", "hipMemcpyWithStream", "cudaMemcpyPeer"),
        ("cudaMemcpyAsync", "cuMemcpyHtoDAsync_v2", "cudaMemcpyPeerAsync", "cudaMemset", "hipMemcpyDtoHAsync"),
    ),
    ("runtime", "synchronize"): (
        (
            "cudaStreamSynchronize",
            "cudaDeviceSynchronize",
            "cudaEventSynchronize",
            "cuCtxSynchronize",
            "cuStreamSynchronize_ptsz",
            "hipDeviceSynchronize",
        ),
        ("cudaStreamWaitEvent", "cudaEventQuery", "cudaEventRecord"),
    ),
    ("runtime", "allocation"): (
        (
            "cudaMalloc",
            "cudaMallocAsync",
            "cudaMallocManaged",
            "cudaFree",
            "cudaFreeAsync",
            "cudaFreeHost",
            "cudaHostAlloc",
            "cudaHostRegister",
            "cuMemAlloc_v2",
            "cuMemFree_v2",
            "cuMemCreate",
            "cuMemMap",
            "cuMemUnmap",
            "cuMemRelease",
            "cuMemAddressReserve",
            "cuMemSetAccess",
            "cuMemHostAlloc",
            "cuMemHostRegister_v2",
            "hipMalloc",
            "hipExtMallocWithFlags",
            "hipHostMalloc",
            "hipHostFree",
            "hipMemUnmap",
        ),
        ("cudaMemcpy", "cudaMemGetInfo", "cuMemGetInfo_v2", "cudaFuncSetAttribute", "cudaHostGetDevicePointer"),
    ),
    ("runtime", "compilation"): (
        (
            "cuModuleLoadData",
            "cuModuleLoadDataEx",
            "cuModuleUnload",
            "cuLibraryLoadData",
            "cuLinkCreate_v2",
            "cuLinkAddData_v2",
            "hipModuleLoad",
            "nvrtcCompileProgram",
            "hiprtcCompileProgram",
        ),
        ("cuModuleGetFunction", "cuLibraryGetKernel", "cuLaunchKernel"),
    ),
    ("runtime", "context"): (
        ("cuInit", "cuCtxCreate_v2", "cuDevicePrimaryCtxRetain", "hipDevicePrimaryCtxRetain"),
        ("cuCtxSynchronize", "cuCtxGetCurrent", "cuCtxSetCurrent"),
    ),
    ("host", "loader"): (
        (
            "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
            "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__",
            "perfkit.loader",
        ),
        ("DataLoader", "enumerate(DataLoader)", "my.perfkit.loader"),
    ),
    ("host", "optimizer"): (
        ("Optimizer.step#SGD.step", "Optimizer.step#AdamW.step"),
        ("Optimizer.zero_grad#SGD.zero_grad", "my Optimizer.step#"),
    ),
    ("host", "step"): (("ProfilerStep#5", "ProfilerStep#123"), ("ProfilerStep", "not ProfilerStep#5", "step 5")),
    ("host", "compilation"): (
        (
            "triton_compile: fused_add",
            "CachingAutotuner.triton compile",
            "compile_fx.<locals>.fw_compiler_base (dynamo_timed)",
            "async_compile.triton",
            "compile_inductor",
            "Inductor::compile",
        ),
        ("Torch-Compiled Region: 0/1", "CompiledFxGraph 12", "triton_poi_fused_add_0", "aten::add", "inductor call"),
    ),
    ("host", "collective"): (
        ("c10d::allreduce_", "nccl:all_reduce", "gloo:broadcast", "record_param_comms"),
        ("aten::all", "ncclKernel", "DistributedDataParallel.forward"),
    ),
    ("python", "compilation"): (
        (
            "triton/compiler/compiler.py(81): compile",
            "/opt/venv/lib/python3.11/site-packages/triton/runtime/jit.py(600): compile",
            "torch/_inductor/compile_fx.py(300): compile_fx_inner",
            "torch/_dynamo/convert_frame.py(500): _compile",
        ),
        ("triton/runtime/jit.py(561): run", "re.py(250): compile", "torch/_dynamo/eval_frame.py(3): _fn"),
    ),
    ("python", "module"): (("nn.Module: Linear_3",), ("torch/nn/modules/module.py(1): _call_impl", "my nn.Module: x")),
    ("python", "library"): (
        (
            "torch/nn/modules/module.py(1501): _call_impl",
            "/usr/lib/python3.11/threading.py(5): run",
            "site-packages/numpy/x.py(3): f",
            "<built-in method to of Tensor object>",
            "nn.Module: Linear_3",
            "contextlib.py(3): inner",
        ),
        ("train.py(12): forward", "src/torch_model.py(3): f", "mytorch/model.py(3): f"),
    ),
    ("device", "communication"): (
        (
            "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
            "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)",
            "rcclGenericKernel<1>",
            "multimem_all_reduce_kernel",
            "void two_shot_all_reduce_kernel<...>",
            "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 2>(...)",
            "one_shot_allreduce",
            "allreduce_fusion_kernel_oneshot_lamport",
            "all_reduce_kernel_impl",
            "nvshmemi_transfer",
            "deep_ep::internode::dispatch<8>",
            "Memcpy PtoP (Device -> Device)",
            "Memcpy P2P (Device -> Device)",
            "CopyPeerToPeer",
            "void tensorrt_llm::kernels::oneShotAllReduceKernel<__half, 4>(...)",
            "reduce_scatter_cross_device_store",
            "internode_ll::combine",
        ),
        (
            "Memcpy DtoD (Device -> Device)",
            "void at::native::reduce_kernel<512, 1>",
            "triton_red_fused_sum_0",
            "deepseek_mla_kernel",
        ),
    ),
    ("device", "copy_to_host"): (
        ("Memcpy DtoH (Device -> Pageable)", "Memcpy DtoH (Device -> Pinned)", "CopyDeviceToHost", "Device -> Host"),
        ("Memcpy HtoD (Pageable -> Device)", "Memcpy HtoD (Pinned -> Device)", "Memcpy DtoD (Device -> Device)"),
    ),
    ("device", "triton"): (("triton_poi_fused_add_relu_0",), ("void triton_like()",)),
}


@pytest.mark.parametrize("group", NAMES, ids=".".join)
def test_names(group: tuple[str, str]) -> None:
    members, others = NAMES[group]
    names = (*members, *others)
    found = Names(trace([call(name, 0, 1) for name in names])).match(*group, np.arange(len(names)))
    assert [name for name, answer in zip(names, found, strict=True) if answer] == list(members)


def test_no_pattern_crosses_a_line() -> None:
    """A line break inside a pattern would keep half of it from ever matching."""
    groups = [(section, group) for section, found in expressions().items() for group in found]
    assert not [group for group in groups if "\n" in pattern(*group).pattern]


def test_each_distinct_name_is_matched_once() -> None:
    one = trace([call("cudaMalloc", 0, 1), call("cudaFree", 1, 2), call("cudaMalloc", 2, 3), call("other", 3, 4)])
    names = Names(one)
    assert names.match("runtime", "allocation", np.array([2, 3])).tolist() == [True, False]
    assert names.match("runtime", "allocation", np.arange(4)).tolist() == [True, True, True, False]
    assert names.match("runtime", "allocation", np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [("gemm<float>", 1), ("void gemm<float>", 1), ("gemm*", 2), ("gemm", 1), ("emm", 0), ("*emm", 1)],
)
def test_a_kernel_is_found_by_the_name_that_reports_print(asked: str, found: int) -> None:
    names = ("void gemm<float>", "gemm")
    rows = [
        row
        for place, name in enumerate(names)
        for row in launched(place + 1, (place, place + 1), (9, 9 + place), name=name)
    ]
    selection = examine(trace(rows)).selection()
    assert int(selection.activities(Which(names=(asked,))).sum()) == found
