"""Names of the events that the flows raise and automations wait for."""

#: Raised by ``score`` when what arrives has differed from the reference for several runs.
DRIFT_LASTS = "clarity.drift.lasting"
#: The resource it is about: the folder where pictures arrive.
INCOMING = "clarity.incoming"
