"""A linha de comando dos três programas: o que cada opção aceita, e o que se diz de uma que não serve."""

import argparse
import contextlib
import os
import re
from collections.abc import Callable
from typing import NoReturn

from protocolo import PORTA_PADRAO, limpar, validar_departamentos, validar_nome


class Analisador(argparse.ArgumentParser):
    """O `ArgumentParser` em português. Uso errado termina o programa com código 2."""

    _TRADUCOES = {
        r"unrecognized arguments: (.*)": r"opção desconhecida: \1",
        r"argument (\S+): expected one argument": r"a opção \1 precisa de um valor",
        r"argument (\S+): ignored explicit argument .*": r"a opção \1 não recebe valor",
        r"argument (\S+): (.*)": r"\1: \2",
    }

    def __init__(self, descricao: str) -> None:
        super().__init__(description=descricao, add_help=False, allow_abbrev=False, usage="%(prog)s [opções]")
        self._grupo = self.add_argument_group("opções")
        self._grupo.add_argument("-h", "--ajuda", "--help", action="help", help="mostra esta ajuda")

    def opcao(
        self,
        nome: str,
        padrao: object,
        ajuda: str,
        tipo: Callable[[str], object] = str,
        mostrar_padrao: bool = True,
        sem_valor: object = None,
    ) -> None:
        """Acrescenta uma opção com valor; o padrão, se houver, aparece na ajuda.

        Com `sem_valor` o valor é opcional: é o que vale a opção dita sozinha.
        """
        if padrao is not None and mostrar_padrao:
            ajuda += f" (padrão: {padrao:g})" if isinstance(padrao, float) else f" (padrão: {padrao})"
        quantos = None if sem_valor is None else "?"
        self._grupo.add_argument(
            nome, default=padrao, type=tipo, help=ajuda, metavar="VALOR", nargs=quantos, const=sem_valor
        )

    def chave(self, nome: str, ajuda: str) -> None:
        """Acrescenta uma opção sem valor: presente ou ausente."""
        self._grupo.add_argument(nome, action="store_true", help=ajuda)

    def format_help(self) -> str:
        return super().format_help().replace("usage: ", "uso: ")

    def error(self, message: str) -> NoReturn:
        for original, traducao in self._TRADUCOES.items():
            message = re.sub(rf"\A{original}\Z", traducao, message)
        self.exit(2, f"{self.prog}: {message}\nUse --ajuda para ver as opções.\n")


def inteiro(minimo: int, maximo: int) -> Callable[[str], int]:
    """Um tipo de argumento: inteiro de `minimo` a `maximo`."""

    def converter(texto: str) -> int:
        if not (texto.isascii() and texto.isdigit() and minimo <= int(texto) <= maximo):
            raise argparse.ArgumentTypeError(f"use um inteiro de {minimo} a {maximo}, e não {texto!r}")
        return int(texto)

    return converter


def segundos(texto: str) -> float:
    """Um tipo de argumento: segundos, acima de zero; vale fração."""
    with contextlib.suppress(ValueError):
        valor = float(texto.replace(",", "."))
        if 0 < valor <= 86_400:
            return valor
    raise argparse.ArgumentTypeError(f"use segundos, acima de zero e até um dia, e não {texto!r}")


def valido(validar: Callable[[str], object]) -> Callable[[str], object]:
    """Um tipo de argumento: o que `validar` devolve; o `ValueError` dele é o erro de uso."""

    def converter(texto: str) -> object:
        try:
            return validar(texto)
        except ValueError as erro:
            raise argparse.ArgumentTypeError(str(erro)) from None

    return converter


def escrito(falta: str) -> Callable[[str], str]:
    """Um tipo de argumento: um texto que se vê, já limpo; `falta` é o erro de quem não o dá."""

    def converter(texto: str) -> str:
        texto = limpar(texto)
        if not texto.strip() or re.search("[\ud800-\udfff]", texto):  # o que na linha de comando não era texto
            raise argparse.ArgumentTypeError(falta)
        return texto

    return converter


host_escrito = escrito("diga o nome, ou o endereço, de uma máquina")
departamento_escrito = escrito("diga o nome de um departamento")
senha_valida = escrito("a senha precisa ter ao menos um caractere que se possa digitar")


def caminho_escrito(texto: str) -> str:
    """Um tipo de argumento: o caminho de um arquivo, tal como veio. Vazio é uma variável que ninguém definiu."""
    if not texto:
        raise argparse.ArgumentTypeError("diga o nome do arquivo")
    return texto


NO_TERMINAL = True
"""O que vale `--rastro`, dita sem um arquivo."""


def ler_opcoes() -> argparse.Namespace:
    """As opções de `servidor.py`."""
    analisador = Analisador("Servidor da fila de atendimento: une clientes e atendentes para conversar.")
    analisador.opcao("--host", "0.0.0.0", "endereço em que aceita conexões", tipo=host_escrito)
    analisador.opcao("--porta", PORTA_PADRAO, "porta TCP; 0 escolhe uma livre", tipo=inteiro(0, 65535))
    analisador.opcao("--max-conexoes", 1000, "conexões ao mesmo tempo", tipo=inteiro(1, 1_000_000))
    ajuda = "conexões de um endereço, e também as novas em 10 s; 0 é sem limite"
    ajuda += " (padrão: um décimo de --max-conexoes, ao menos 10)"
    analisador.opcao("--max-por-endereco", None, ajuda, tipo=inteiro(0, 1_000_000))
    ajuda = "linhas por segundo de cada conexão, com folga de 10 s; 0 é sem limite"
    analisador.opcao("--ritmo", 200, ajuda, tipo=inteiro(0, 1_000_000))
    analisador.opcao("--prazo-identificacao", 60.0, "segundos para cada linha da identificação", tipo=segundos)
    analisador.opcao("--prazo-envio", 10.0, "segundos que quem não lê fica conectado", tipo=segundos)
    analisador.opcao(
        "--senha-atendentes",
        os.environ.get("FILA_SENHA") or None,
        "senha pedida aos atendentes (ou a variável FILA_SENHA)",
        tipo=senha_valida,
        mostrar_padrao=False,
    )
    ajuda = "nomes separados por vírgulas: cada um é uma fila"
    analisador.opcao("--departamentos", None, ajuda, tipo=valido(validar_departamentos))
    analisador.chave("--devolver-a-fila", "o cliente de um atendente que cai volta para o início da fila")
    analisador.opcao("--registro", None, "arquivo CSV em que se gravam as conversas", tipo=caminho_escrito)
    ajuda = "mostra o que cada thread recebe, envia e espera, com a trava 5 ms mais lenta; num arquivo, grava o filme"
    ajuda += " (ver docs/filme.py)"
    analisador.opcao("--rastro", None, ajuda, tipo=caminho_escrito, sem_valor=NO_TERMINAL)
    analisador.chave("--rastro-bytes", "mostra as linhas do rastro como vão no fio")
    analisador.chave("--varios-nucleos", "deixa as threads se espalharem pelos núcleos (ver docs/desempenho.md)")
    opcoes = analisador.parse_args()
    if opcoes.senha_atendentes is None and "FILA_SENHA" in os.environ:
        analisador.error("a variável FILA_SENHA está vazia: ponha nela a senha dos atendentes, ou apague-a")
    return opcoes


def ler_opcoes_da_conversa(descricao: str, departamento: str) -> argparse.Namespace:
    """As opções de `cliente.py` e de `atendente.py`; `departamento` explica a opção desse nome."""
    analisador = Analisador(descricao)
    analisador.opcao("--host", "127.0.0.1", "endereço do servidor", tipo=host_escrito)
    analisador.opcao("--porta", PORTA_PADRAO, "porta do servidor", tipo=inteiro(1, 65535))
    analisador.opcao("--nome", None, "o seu nome; sem ele, o programa pergunta", tipo=valido(validar_nome))
    analisador.opcao("--departamento", None, departamento, tipo=departamento_escrito)
    analisador.chave("--json", "fala com o servidor em JSON, e não em texto")
    analisador.chave("--sem-som", "não toca o terminal quando uma conversa começa")
    return analisador.parse_args()
