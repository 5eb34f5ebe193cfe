"""The processes beside the gateway's own: who starts them, notices that they died, and ends them.

This file stays empty of imports: the embedded child passes through it on its way to `embedded_child`.
"""
