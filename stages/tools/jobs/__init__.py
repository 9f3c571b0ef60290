"""Jobs: commands in clones of their own, run side by side on this machine or by submitit on a cluster."""
