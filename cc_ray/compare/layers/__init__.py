"""How the weights and activations of models differ, module by module."""
