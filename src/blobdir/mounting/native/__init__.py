"""The native engine: speaks the FUSE protocol on ``/dev/fuse``, in processes of its own, without libfuse. Linux."""
