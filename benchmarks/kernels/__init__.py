"""Every kernel against eager PyTorch, native functions, `torch.compile` and Liger-Kernel, in turns."""
