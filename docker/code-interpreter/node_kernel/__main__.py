"""`python -m node_kernel -f CONNECTION_FILE`, as Jupyter starts it."""

from ipykernel.kernelapp import IPKernelApp

from node_kernel.kernel import NodeKernel

IPKernelApp.launch_instance(kernel_class=NodeKernel)
