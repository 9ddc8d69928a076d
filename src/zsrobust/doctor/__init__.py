"""What ``zsrobust doctor`` finds on this machine; nothing is changed and no network is used."""
