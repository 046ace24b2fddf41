# coding: utf-8
"""O programa do cliente: entra na fila, espera a sua vez e conversa com um atendente.

São duas threads, porque são duas as coisas que bloqueiam: a de leitura (`ouvir_servidor`) fica parada no `recv`,
esperando o servidor; a principal (`conversar`), no teclado, esperando a pessoa. Só a principal envia.
"""

import argparse
import contextlib
import errno
import itertools
import socket
import sys
import threading
from collections.abc import Iterator

from atendimento.comandos import Comandos
from atendimento.opcoes import ler_opcoes_da_conversa
from atendimento.perguntas import Perguntas
from atendimento.tela import Tela
from protocolo import (
    MAXIMO_DA_LINHA,
    PRAZO_ESGOTADO,
    SENHA_INCORRETA,
    Aviso,
    Comando,
    Conectado,
    Entrada,
    Fila,
    Fim,
    Json,
    Mensagem,
    Pergunta,
    Resposta,
    Texto,
    Tipo,
    lotes_do_servidor,
)


class Cliente:
    """Quem espera e conversa. O atendente faz o mesmo, e só redefine o que nele é diferente."""

    tipo = Tipo.CLIENTE
    descricao = "Cliente da fila de atendimento: espera a vez e conversa com um atendente."
    ajuda_do_departamento = "o departamento procurado; sem ele, o programa pergunta"
    ja_entrou = "Procurando um atendente..."

    PRIMEIRA_RESPOSTA_EM = 10
    """Segundos. Um servidor da fila responde na hora: quem passa disso é outra coisa."""

    ENTRADA = 64 * 1024
    """Bytes que esperam no nosso socket. Poucos, para que a contrapressão chegue logo a quem inunda."""

    SENHAS = 3
    """Quantas vezes se pergunta a senha."""

    DESPEDIDA = 0.8
    """Segundos que se espera, ao sair, que o servidor feche o seu lado: o que enviamos já terá chegado."""

    def __init__(self, tela: Tela, opcoes: argparse.Namespace) -> None:  # um Python velho desiste aqui: use o 3.10
        self.tela = tela
        self.opcoes = opcoes
        self.formato = Json() if opcoes.json else Texto()
        self.perguntas = Perguntas(tela, self.tipo, opcoes.nome)
        self.saindo = False

    # A thread principal.

    def conversar(self) -> None:
        """Envia o que a pessoa digita, até ela sair ou a conversa acabar."""
        self.comandos = Comandos(self.tela, self.tipo, self.nome, self.perguntas.departamentos)
        self.tela.recusa = self.recusa
        leitura = threading.Thread(target=self.ouvir_servidor, name="leitura", daemon=True)
        leitura.start()
        with contextlib.suppress(EOFError):
            while True:
                linha = self.tela.ler()  # bloqueia
                comando = self.interpretar(linha)
                if comando:
                    self.enviar(comando)
        self.saindo = self.tela.ha_pessoa  # antes que o servidor responda ao fim
        # Só o nosso lado do fluxo acaba aqui: o que já foi enviado chega antes do fim.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        leitura.join(self.DESPEDIDA if self.tela.ha_pessoa else 10)

    def interpretar(self, linha: str) -> Comando | None:
        """O que a linha digitada manda ao servidor, se manda algo; `EOFError` se a pessoa quer sair."""
        return self.comandos.interpretar(linha)

    def enviar(self, comando: Comando) -> None:
        with contextlib.suppress(OSError):  # a conexão caiu, ou a rede: quem lê é que o diz
            self.sock.sendall(self.formato.codificar(comando))

    def recusa(self, texto: str) -> str:
        """Por que o que se digitou não cabe no protocolo, ou nada."""
        sobram = max(len(self.formato.codificar(Mensagem(self.nome, [linha]))) for linha in texto.split("\n"))
        sobram -= MAXIMO_DA_LINHA
        if sobram <= 0:
            return ""
        return f"(Mensagem longa demais (máximo de {MAXIMO_DA_LINHA} bytes; sobram {sobram}); não foi enviada.)"

    # A thread de leitura.

    def ouvir_servidor(self) -> None:
        """Mostra tudo o que o servidor diz, até o fim da conversa ou da conexão."""
        try:
            for lote in self.lotes:  # bloqueia
                with self.tela.desenho():  # o que chegou junto aparece junto
                    for comando in lote:
                        if self.contar(comando):
                            return
            self.despedir("*** Desconectado do servidor. ***")
        except OSError:
            self.despedir("*** A conexão com o servidor caiu. ***")

    def contar(self, comando: Comando) -> bool:
        """Conta à pessoa o que o servidor disse; diz se é o fim do programa. Exige a trava da tela."""
        if self.saindo:
            return False
        if isinstance(comando, Mensagem):
            for texto in comando.textos:
                self.tela.dizer(f"[{comando.nome}]: {texto}")
        elif isinstance(comando, Fila):
            self.tela.par = ""
            self.contar_fila(comando.posicao)
        elif isinstance(comando, Conectado):
            self.contar_conexao(comando.nome)
        elif isinstance(comando, Aviso):
            self.tela.dizer(f"({comando.mensagem})", "amarelo")
        elif isinstance(comando, Fim):
            return self.contar_fim(comando.mensagem)
        return False

    def contar_fila(self, posicao: int | None) -> None:
        """Conta a posição; só o atendente tem a fila sem número. Exige a trava da tela."""
        if posicao is not None:
            self.tela.dizer(f"(Você é o número {posicao} na fila. Por favor, aguarde...)", "amarelo")

    def contar_conexao(self, nome: str) -> None:
        """Conta que a conversa começou. Exige a trava da tela."""
        self.tela.comecou(nome)
        self.tela.dizer(f"*** Conexão estabelecida! Você está falando com {nome}. ***", "verde", tocar=True)

    def contar_fim(self, mensagem: str) -> bool:
        """Conta que a conversa acabou; diz se com ela acaba também o programa. Exige a trava da tela."""
        self.tela.dizer(f"*** {mensagem} ***\n*** Sessão encerrada. ***", "verde")
        self.tela.acabou(tudo=True)
        return True

    def despedir(self, aviso: str) -> None:
        """Não há mais o que ler do servidor."""
        with self.tela.desenho():
            if not self.saindo:
                self.tela.dizer(aviso, "vermelho")
            self.tela.acabou(tudo=True)

    # Antes da conversa: a conexão e a identificação, ainda com uma thread só.

    def conectar(self) -> None:
        self.sock = socket.create_connection((self.opcoes.host, self.opcoes.porta), self.PRIMEIRA_RESPOSTA_EM)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # cada linha parte na hora
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.ENTRADA)
        self.lotes: Iterator[list[Comando]] = lotes_do_servidor(self.sock.recv, self.formato)

    def entrar(self) -> bool:
        """Conecta e identifica-se; diz se deu certo.

        Quem pensou mais que o prazo do servidor volta a se conectar, já sabendo o que responder; quem errou a senha,
        também, para tentar outra.
        """
        for tentativa in itertools.count(1):
            self.conectar()
            self.perguntas.da_pessoa.clear()
            fim = self.identificar()
            if fim is None:
                self.nome = self.perguntas.respostas["nome"]
                return True
            self.sock.close()
            if fim.mensagem.startswith(PRAZO_ESGOTADO) and self.perguntas.da_pessoa:
                continue
            self.tela.mostrar(f"*** {fim.mensagem} ***", "vermelho")
            outra_senha = fim.mensagem == SENHA_INCORRETA and tentativa < self.SENHAS
            if not (outra_senha and self.perguntas.esquecer_a_senha()):
                return False

    def identificar(self) -> Fim | None:
        """Diz o tipo e responde ao que o servidor pergunta, até estar na fila; o fim, se fomos recusados."""
        self.enviar(Entrada(self.tipo, self.opcoes.departamento))
        try:
            for lote in self.lotes:
                for lugar, comando in enumerate(lote):
                    self.sock.settimeout(None)  # é mesmo um servidor da fila
                    if isinstance(comando, Pergunta):
                        resposta = self.perguntas.responder(comando.campo, comando.opcoes)
                        self.enviar(Resposta(comando.campo, resposta))
                    elif isinstance(comando, Fim):
                        return comando
                    elif "nome" in self.perguntas.respostas:
                        self.lotes = itertools.chain([lote[lugar:]], self.lotes)  # já é da conversa
                        return None
        except TimeoutError:
            return Fim(f"Nada respondeu em {self.PRIMEIRA_RESPOSTA_EM} s: não parece ser o servidor da fila.")
        except ConnectionError:
            pass
        # Se alguém pensou muito, o servidor cansou de esperar, e a resposta bateu na porta fechada.
        return Fim(PRAZO_ESGOTADO if self.perguntas.da_pessoa else "Desconectado do servidor.")


SEM_CAMINHO = errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL
"""Os dois últimos são de quem não tem IPv6, e de um endereço dele que não diz por que interface, como `fe80::1`."""

MOTIVOS = dict.fromkeys(SEM_CAMINHO, "não há caminho até lá") | {
    errno.ECONNREFUSED: "a conexão foi recusada",
    errno.EPERM: "o sistema não deixa",
}


def motivo(erro: OSError | UnicodeError) -> str:
    """Por que não se conseguiu conectar."""
    if isinstance(erro, (socket.gaierror, UnicodeError)):  # este, de um nome que nem se pode perguntar
        return "não existe máquina com esse nome"
    if isinstance(erro, TimeoutError):
        return "ninguém respondeu"
    return MOTIVOS.get(erro.errno) or str(erro.strerror or erro)


def main(programa: type[Cliente] = Cliente) -> int:
    """O comando `python cliente.py` e, com o `Atendente`, `python atendente.py`."""
    opcoes = ler_opcoes_da_conversa(programa.descricao, programa.ajuda_do_departamento)
    try:
        with Tela(som=not opcoes.sem_som) as tela:
            try:
                alguem = programa(tela, opcoes)
                if not alguem.entrar():
                    return 1
                tela.mostrar(alguem.ja_entrou)
                if tela.ha_pessoa:
                    tela.mostrar("(Para ver os comandos, /ajuda.)", "amarelo")
                if tela.ha_pessoa and not tela.interativa:  # o IDLE só escreve entre um input() e outro
                    tela.mostrar("(Se o que chega não aparece, Enter o mostra.)")
                alguem.conversar()
            except KeyboardInterrupt:
                tela.mostrar("Saindo...")
    except (EOFError, KeyboardInterrupt):
        pass  # a pessoa desistiu, ou a entrada acabou, antes de dizer quem é
    except (OSError, UnicodeError) as erro:
        onde = f"{opcoes.host}, porta {opcoes.porta}"
        sys.exit(f"Não foi possível conectar ao servidor em {onde}: {motivo(erro)}. Verifique se ele está online.")
    except ValueError as erro:
        sys.exit(str(erro))
    return 0


if __name__ == "__main__":
    sys.exit(main())
