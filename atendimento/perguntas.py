"""O que o servidor pergunta a quem entra, e a pessoa responde: a senha, o nome, o departamento."""

import os
from collections.abc import Callable, Sequence

from atendimento.tela import Tela
from protocolo import TODOS, Tipo, escolher_departamentos, limpar, validar_nome

PERGUNTAS = {
    Tipo.CLIENTE: {
        "nome": "Digite seu nome: ",
        "departamento": "Departamento (número ou nome): ",
    },
    Tipo.ATENDENTE: {
        "senha": "Senha dos atendentes: ",
        "nome": "Digite seu nome de atendente: ",
        "departamento": "Departamentos (números ou nomes, com vírgulas; Enter para todos): ",
    },
}


class Perguntas:
    """Responde com o que já se sabe, e só o que não se sabe pergunta à pessoa."""

    def __init__(self, tela: Tela, tipo: Tipo, nome: str | None) -> None:
        self.tela = tela
        self.tipo = tipo
        dadas = {"nome": nome, "senha": limpar(os.environ.get("FILA_SENHA", ""))}  # como o servidor
        self.respostas = {campo: texto for campo, texto in dadas.items() if texto}
        self.da_pessoa: list[str] = []  # os campos que ela respondeu desde a última conexão
        self.departamentos: Sequence[str] = ()  # os que o servidor anunciou

    def responder(self, campo: str, opcoes: Sequence[str]) -> str:
        """A resposta ao que o servidor perguntou; `ValueError` se não serve, e não há a quem perguntar de novo."""
        self.departamentos = opcoes or self.departamentos
        if campo not in self.respostas:
            self.respostas[campo] = self._perguntar(PERGUNTAS[self.tipo].get(campo, f"{campo}: "), campo)
            self.da_pessoa.append(campo)
        return self.respostas[campo]

    def esquecer_a_senha(self) -> bool:
        """O servidor a recusou; diz se há uma pessoa que possa digitar outra."""
        digitada = "senha" in self.da_pessoa and self.tela.ha_pessoa
        if digitada:
            del self.respostas["senha"]
        return digitada

    def _perguntar(self, pergunta: str, campo: str) -> str:
        if campo == "senha":
            return self.tela.perguntar(pergunta, oculta=True)
        if campo == "nome":
            return self._ate_servir(pergunta, validar_nome)
        if self.tela.ha_pessoa:
            numerados = (f"  {numero}. {nome}" for numero, nome in enumerate(self.departamentos, start=1))
            self.tela.mostrar("\n".join(numerados), "ciano")
        return self._ate_servir(pergunta, self._escolher, self.departamentos)

    def _ate_servir(self, pergunta: str, converter: Callable[[str], str], opcoes: Sequence[str] = ()) -> str:
        while True:
            try:
                return converter(self.tela.perguntar(pergunta, opcoes=opcoes))
            except ValueError as erro:
                if not self.tela.ha_pessoa:
                    raise
                self.tela.mostrar(str(erro), "amarelo")

    def _escolher(self, texto: str) -> str:
        """O que responder ao servidor por quem disse departamentos, ou os números deles."""
        varios = self.tipo is Tipo.ATENDENTE
        if varios and not texto.strip():
            return TODOS
        itens = [item.strip() for item in (texto.split(",") if varios else [texto])]
        numeros = {str(numero): nome for numero, nome in enumerate(self.departamentos, start=1)}
        conhecidos = {nome.casefold() for nome in self.departamentos}  # um nome vale mais que um número
        nomes = [item if item.casefold() in conhecidos else numeros.get(item, item) for item in itens]
        return ",".join(escolher_departamentos(",".join(nomes), self.departamentos, varios))
