"""How right the filters are: defects of known kind and strength rendered over real footage, and measured."""
